//! A container seen through plain REST, independent of the provider's own client.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use duroxide_cosmos::CosmosDBProviderConfig;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};

/// A container and the means to look into it.
#[derive(Debug, Clone)]
pub struct Container {
    endpoint: String,
    key: String,
    database: String,
    pub name: String,
}

impl Container {
    pub fn of(config: &CosmosDBProviderConfig) -> Self {
        Self {
            endpoint: config.endpoint.trim_end_matches('/').to_owned(),
            key: config.key.clone(),
            database: config.database.clone(),
            name: config.container.clone(),
        }
    }

    fn link(&self) -> String {
        format!("dbs/{}/colls/{}", self.database, self.name)
    }

    /// Sends one request; answers status and body.
    pub async fn send(
        &self,
        verb: reqwest::Method,
        resource_type: &str,
        link: &str,
        path: &str,
        headers: &[(&str, String)],
        body: Option<Value>,
    ) -> (u16, Value) {
        let date = httpdate::fmt_http_date(std::time::SystemTime::now());
        let text =
            format!("{}\n{resource_type}\n{link}\n{}\n\n", verb.as_str().to_lowercase(), date.to_lowercase());
        let key = BASE64.decode(&self.key).expect("a base64 key");
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).expect("a key");
        mac.update(text.as_bytes());
        let signature = BASE64.encode(mac.finalize().into_bytes());
        let authorization =
            format!("type=master&ver=1.0&sig={signature}").replace('=', "%3D").replace('&', "%26");
        let authorization = authorization.replace('+', "%2B").replace('/', "%2F");
        let mut request = reqwest::Client::new()
            .request(verb, format!("{}/{path}", self.endpoint))
            .header("authorization", authorization)
            .header("x-ms-date", date)
            .header("x-ms-version", "2020-07-15");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let response = request
            .body(body.map_or_else(Vec::new, |body| body.to_string().into_bytes()))
            .send()
            .await
            .expect("an answer");
        let status = response.status().as_u16();
        let bytes = response.bytes().await.expect("a body");
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// Documents of one partition, 4 MB at most.
    pub async fn documents(&self, partition: &str, condition: &str) -> Vec<Value> {
        self.rows(partition, &format!("SELECT * FROM c WHERE {condition}")).await
    }

    /// Ids of documents of one partition, however long these are.
    pub async fn ids<C: FromIterator<String>>(&self, partition: &str, condition: &str) -> C {
        let rows = self.rows(partition, &format!("SELECT VALUE c.id FROM c WHERE {condition}")).await;
        rows.iter().map(|id| id.as_str().expect("an id").to_owned()).collect()
    }

    async fn rows(&self, partition: &str, query: &str) -> Vec<Value> {
        let headers = [
            ("x-ms-documentdb-partitionkey", json!([partition]).to_string()),
            ("x-ms-documentdb-isquery", "True".into()),
            ("content-type", "application/query+json".into()),
            ("x-ms-max-item-count", "1000".into()),
        ];
        let query = json!({ "query": query, "parameters": [] });
        let path = format!("{}/docs", self.link());
        let (status, body) =
            self.send(reqwest::Method::POST, "docs", &self.link(), &path, &headers, Some(query)).await;
        assert_eq!(status, 200, "{body}");
        body["Documents"].as_array().expect("rows").clone()
    }

    /// Writes a document as it is.
    pub async fn upsert(&self, partition: &str, document: &Value) {
        let headers = [
            ("x-ms-documentdb-partitionkey", json!([partition]).to_string()),
            ("x-ms-documentdb-is-upsert", "True".into()),
        ];
        let path = format!("{}/docs", self.link());
        let (status, body) = self
            .send(reqwest::Method::POST, "docs", &self.link(), &path, &headers, Some(document.clone()))
            .await;
        assert!(status < 300, "{status} {body}");
    }

    /// Creates documents of one physical partition in bulk, at most 100; each with its partition.
    pub async fn create_all(&self, range: &str, documents: impl Iterator<Item = (String, Value)>) {
        let operations: Vec<Value> = documents
            .map(|(partition, document)| {
                let key = json!([partition]).to_string();
                json!({ "operationType": "Create", "partitionKey": key, "resourceBody": document })
            })
            .collect();
        let headers = [
            ("x-ms-documentdb-partitionkeyrangeid", range.to_owned()),
            ("x-ms-cosmos-is-batch-request", "True".into()),
            ("x-ms-cosmos-batch-atomic", "False".into()),
            ("prefer", "return=minimal".into()),
        ];
        let path = format!("{}/docs", self.link());
        let (status, body) = self
            .send(reqwest::Method::POST, "docs", &self.link(), &path, &headers, Some(operations.into()))
            .await;
        let created = body.as_array().is_some_and(|results| results.iter().all(|r| r["statusCode"] == 201));
        assert!(status < 300 && created, "{status} {body}");
    }

    /// Creates database and container with properties of the test's choice.
    pub async fn create(&self, properties: Value) {
        let database = json!({ "id": self.database });
        self.send(reqwest::Method::POST, "dbs", "", "dbs", &[], Some(database)).await;
        let link = format!("dbs/{}", self.database);
        let path = format!("{link}/colls");
        let (status, body) =
            self.send(reqwest::Method::POST, "colls", &link, &path, &[], Some(properties)).await;
        assert_eq!(status, 201, "{body}");
    }

    /// The container's stored procedures.
    pub async fn procedures(&self) -> Vec<String> {
        let path = format!("{}/sprocs", self.link());
        let (status, body) = self.send(reqwest::Method::GET, "sprocs", &self.link(), &path, &[], None).await;
        assert_eq!(status, 200, "{body}");
        let all = body["StoredProcedures"].as_array().expect("procedures");
        all.iter().map(|procedure| procedure["id"].as_str().expect("an id").to_owned()).collect()
    }

    /// Deploys a stored procedure.
    pub async fn create_procedure(&self, id: &str, body: &str) {
        let path = format!("{}/sprocs", self.link());
        let procedure = json!({ "id": id, "body": body });
        let (status, body) =
            self.send(reqwest::Method::POST, "sprocs", &self.link(), &path, &[], Some(procedure)).await;
        assert_eq!(status, 201, "{body}");
    }

    /// Takes a stored procedure away.
    pub async fn delete_procedure(&self, id: &str) {
        let link = format!("{}/sprocs/{id}", self.link());
        let (status, body) = self.send(reqwest::Method::DELETE, "sprocs", &link, &link, &[], None).await;
        assert_eq!(status, 204, "{body}");
    }

    /// Deletes the container: a real account bills each.
    pub async fn delete(&self) {
        self.send(reqwest::Method::DELETE, "colls", &self.link(), &self.link(), &[], None).await;
    }
}
