"""Stored procedures, triggers and user-defined functions through azure-cosmos."""

import unittest

from azure.cosmos import PartitionKey
from azure.cosmos.documents import TriggerOperation, TriggerType
from azure.cosmos.exceptions import CosmosHttpResponseError, CosmosResourceExistsError, CosmosResourceNotFoundError

from support import DatabaseTestCase


class Scripts(DatabaseTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.container = cls.database.create_container("c", PartitionKey("/pk"))
        cls.scripts = cls.container.scripts

    def fails(self, status, sub_status, call, *args, **options):
        with self.assertRaises(CosmosHttpResponseError) as raised:
            call(*args, **options)
        self.assertEqual((raised.exception.status_code, raised.exception.sub_status or 0), (status, sub_status))

    def test_lifecycle(self):
        scripts = self.scripts
        kinds = [
            ("stored_procedure", "stored_procedures", {}),
            ("user_defined_function", "user_defined_functions", {}),
            ("trigger", "triggers", {"triggerType": TriggerType.Pre, "triggerOperation": TriggerOperation.All}),
        ]
        for one, many, extra in kinds:
            with self.subTest(one):
                body = {"id": "s", "body": "function () { var x = 10; }", **extra}
                created = getattr(scripts, f"create_{one}")(body)
                self.assertEqual({name: created[name] for name in body}, body)
                with self.assertRaises(CosmosResourceExistsError):
                    getattr(scripts, f"create_{one}")(body)
                self.assertIn("s", [found["id"] for found in getattr(scripts, f"list_{many}")()])
                query = "SELECT * FROM root r WHERE r.id = 's'"
                self.assertEqual(len(list(getattr(scripts, f"query_{many}")(query))), 1)
                body["body"] = "function () { var x = 20; }"
                getattr(scripts, f"replace_{one}")("s", body)
                self.assertEqual(getattr(scripts, f"get_{one}")("s")["body"], body["body"])
                getattr(scripts, f"delete_{one}")("s")
                with self.assertRaises(CosmosResourceNotFoundError):
                    getattr(scripts, f"get_{one}")("s")

    def test_procedures(self):
        self.scripts.create_stored_procedure({"id": "create", "body": """
            function (id, fail) {
                console.log('id=%s', id);
                __.createDocument(__.getSelfLink(), { id: id, pk: 'a' }, function (err, doc) {
                    if (err) throw err;
                    if (fail) throw new Error(4321, 'asked to');
                    getContext().getResponse().setBody({ id: doc.id });
                });
            }"""})
        run = self.scripts.execute_stored_procedure
        self.assertEqual(run("create", partition_key="a", params=["x", False], enable_script_logging=True), {"id": "x"})
        logs = self.container.client_connection.last_response_headers["x-ms-documentdb-script-log-results"]
        self.assertIn("id", logs)
        self.fails(400, 4321, run, "create", partition_key="a", params=["y", True])
        self.fails(400, 409, run, "create", partition_key="a", params=["x", False])
        with self.assertRaises(CosmosResourceNotFoundError):
            self.container.read_item("y", "a")
        self.fails(404, 0, run, "none", partition_key="a", params=[])

    def test_triggers(self):
        self.scripts.create_trigger({
            "id": "stamp", "triggerType": TriggerType.Pre, "triggerOperation": TriggerOperation.All, "body": """
            function () {
                var request = getContext().getRequest(), item = request.getBody();
                if (item.bad) throw new Error(409, 'bad item');
                item.by = request.getOperationType();
                request.setBody(item);
            }"""})
        self.scripts.create_trigger({
            "id": "answer", "triggerType": TriggerType.Post, "triggerOperation": TriggerOperation.Create, "body": """
            function () {
                var response = getContext().getResponse(), item = response.getBody();
                item.quota = response.getMaxResourceQuota();
                response.setBody(item);
            }"""})
        create = self.container.create_item
        both = {"pre_trigger_include": "stamp", "post_trigger_include": "answer"}
        created = create({"id": "1", "pk": "t"}, **both)
        self.assertEqual(created["by"], "Create")
        self.assertIn("collectionSize", created["quota"])
        self.assertNotIn("quota", self.container.read_item("1", "t"))
        self.fails(400, 409, create, {"id": "2", "pk": "t", "bad": True}, **both)
        replaced = self.container.replace_item("1", {"id": "1", "pk": "t"}, pre_trigger_include="stamp")
        self.assertEqual(replaced["by"], "Replace")
        self.fails(400, 0, create, {"id": "3", "pk": "t"}, post_trigger_include="none")
        self.container.delete_item("1", "t", pre_trigger_include="stamp")

    def test_functions(self):
        self.scripts.create_user_defined_function({"id": "twice", "body": "function (n) { return n * 2; }"})
        self.container.create_item({"id": "n", "pk": "f", "n": 21})
        query = self.container.query_items
        self.assertEqual(list(query("SELECT VALUE udf.twice(c.n) FROM c", partition_key="f")), [42])
        everywhere = query("SELECT VALUE c.id FROM c WHERE udf.twice(c.n) = 42", enable_cross_partition_query=True)
        self.assertEqual(list(everywhere), ["n"])
        with self.assertRaises(CosmosHttpResponseError):
            list(query("SELECT VALUE udf.none(c.n) FROM c", partition_key="f"))


if __name__ == "__main__":
    unittest.main()
