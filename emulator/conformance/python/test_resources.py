"""Resources as the SDK uses them: databases, containers, items, batches, change feed, throughput."""

import time
import uuid
from datetime import datetime, timedelta, timezone

from azure.core import MatchConditions
from azure.cosmos import PartitionKey, ThroughputProperties
from azure.cosmos.exceptions import (
    CosmosAccessConditionFailedError,
    CosmosBatchOperationError,
    CosmosHttpResponseError,
    CosmosResourceExistsError,
    CosmosResourceNotFoundError,
)

from support import DatabaseTestCase


class Resources(DatabaseTestCase):
    def new_container(self, key=None, **options):
        key = key or PartitionKey(path="/pk")
        return self.database.create_container(f"c-{uuid.uuid4()}", partition_key=key, **options)

    def assert_fails(self, status, call, *arguments, **options):
        with self.assertRaises(CosmosHttpResponseError) as raised:
            call(*arguments, **options)
        self.assertEqual(raised.exception.status_code, status, raised.exception)
        return raised.exception

    def test_databases(self):
        name = f"db-{uuid.uuid4()}"
        database = self.client.create_database(name)
        with self.assertRaises(CosmosResourceExistsError):
            self.client.create_database(name)
        self.client.create_database_if_not_exists(name)
        self.assertEqual(database.read()["id"], name)
        self.assertIn(name, [one["id"] for one in self.client.list_databases(max_item_count=1)])
        found = self.client.query_databases(
            "SELECT * FROM d WHERE d.id = @id", parameters=[{"name": "@id", "value": name}]
        )
        self.assertEqual(len(list(found)), 1)
        self.client.delete_database(name)
        with self.assertRaises(CosmosResourceNotFoundError):
            database.read()

    def test_containers(self):
        container = self.new_container(default_ttl=100)
        properties = container.read(populate_quota_info=True)
        self.assertEqual(properties["defaultTtl"], 100)
        self.assertEqual(properties["indexingPolicy"]["indexingMode"], "consistent")
        policy = {"includedPaths": [{"path": "/*"}], "excludedPaths": [{"path": "/big/*"}]}
        replaced = self.database.replace_container(
            container, partition_key=PartitionKey(path="/pk"), indexing_policy=policy, default_ttl=-1
        ).read()
        self.assertEqual(replaced["defaultTtl"], -1)
        self.assertIn({"path": "/big/*"}, replaced["indexingPolicy"]["excludedPaths"])
        self.assert_fails(400, self.database.replace_container, container, partition_key=PartitionKey(path="/other"))
        self.assertIn(container.id, [one["id"] for one in self.database.list_containers(max_item_count=1)])
        found = self.database.query_containers(
            "SELECT * FROM c WHERE c.id = @id", parameters=[{"name": "@id", "value": container.id}]
        )
        self.assertEqual(len(list(found)), 1)
        self.database.delete_container(container)
        with self.assertRaises(CosmosResourceNotFoundError):
            container.read()

    def test_items_and_etags(self):
        container = self.new_container()
        created = container.create_item({"id": "x", "pk": "a", "n": 1})
        with self.assertRaises(CosmosResourceExistsError):
            container.create_item({"id": "x", "pk": "a"})
        replaced = container.replace_item(
            "x", {"id": "x", "pk": "a", "n": 2}, etag=created["_etag"], match_condition=MatchConditions.IfNotModified
        )
        self.assertNotEqual(replaced["_etag"], created["_etag"])
        with self.assertRaises(CosmosAccessConditionFailedError):
            container.replace_item(
                "x", {"id": "x", "pk": "a"}, etag=created["_etag"], match_condition=MatchConditions.IfNotModified
            )
        container.upsert_item({"id": "x", "pk": "a", "n": 3})
        self.assertEqual(container.read_item("x", "a")["n"], 3)
        many = container.read_items([("x", "a"), ("none", "a")])
        self.assertEqual([item["id"] for item in many], ["x"])
        container.delete_item("x", "a")
        with self.assertRaises(CosmosResourceNotFoundError):
            container.read_item("x", "a")
        charge = container.client_connection.last_response_headers["x-ms-request-charge"]
        self.assertGreater(float(charge), 0)

    def test_keys_of_every_kind(self):
        for version in (1, 2):
            container = self.new_container(PartitionKey(path="/pk", version=version))
            keys = ["text", "", "ünïcödé ✓", 0, -1.5, 1e300, True, False, None]
            for key in keys:
                container.create_item({"id": "x", "pk": key})
                self.assertEqual(container.read_item("x", key)["pk"], key)
            self.assertEqual(len(list(container.read_all_items())), len(keys))

    def test_hierarchical_keys(self):
        container = self.new_container(PartitionKey(path=["/tenant", "/user"], kind="MultiHash"))
        for tenant, user in (("t1", "u1"), ("t1", "u2"), ("t2", "u1")):
            container.create_item({"id": "x", "tenant": tenant, "user": user})
        self.assertEqual(container.read_item("x", ["t1", "u2"])["user"], "u2")
        rows = lambda key: len(list(container.query_items("SELECT * FROM c", partition_key=key)))
        self.assertEqual((rows(["t1"]), rows(["t1", "u1"])), (2, 1))

    def test_patches(self):
        container = self.new_container()
        container.create_item({"id": "x", "pk": "a", "n": 1, "list": [1, 3], "gone": True})
        patched = container.patch_item(
            "x",
            "a",
            [
                {"op": "incr", "path": "/n", "value": 4},
                {"op": "add", "path": "/list/1", "value": 2},
                {"op": "remove", "path": "/gone"},
                {"op": "move", "from": "/list", "path": "/moved"},
            ],
        )
        self.assertEqual((patched["n"], patched["moved"], "gone" in patched), (5, [1, 2, 3], False))
        operations = [{"op": "set", "path": "/n", "value": 0}]
        container.patch_item("x", "a", operations, filter_predicate="from c where c.n = 5")
        error = self.assert_fails(
            412, container.patch_item, "x", "a", operations, filter_predicate="from c where c.n = 5"
        )
        self.assertEqual(error.sub_status, 1110)

    def test_unique_keys_and_ttl(self):
        container = self.new_container(
            unique_key_policy={"uniqueKeys": [{"paths": ["/email"]}]}, default_ttl=-1
        )
        container.create_item({"id": "1", "pk": "a", "email": "x"})
        self.assert_fails(409, container.create_item, {"id": "2", "pk": "a", "email": "x"})
        container.create_item({"id": "2", "pk": "b", "email": "x", "ttl": 1})
        deadline = time.monotonic() + 10
        while list(container.query_items("SELECT * FROM c", partition_key="b")):
            self.assertLess(time.monotonic(), deadline)
        container.create_item({"id": "3", "pk": "b", "email": "x"})

    def test_batches(self):
        container = self.new_container()
        results = container.execute_item_batch(
            [
                ("create", ({"id": "1", "pk": "a", "n": 1},)),
                ("upsert", ({"id": "2", "pk": "a"},)),
                ("patch", ("1", [{"op": "incr", "path": "/n", "value": 1}])),
                ("read", ("1",)),
                ("delete", ("2",)),
            ],
            partition_key="a",
        )
        self.assertEqual([result["statusCode"] for result in results], [201, 201, 200, 200, 204])
        self.assertEqual(results[3]["resourceBody"]["n"], 2)
        with self.assertRaises(CosmosBatchOperationError) as raised:
            container.execute_item_batch(
                [("create", ({"id": "3", "pk": "a"},)), ("create", ({"id": "1", "pk": "a"},))], partition_key="a"
            )
        self.assertEqual(raised.exception.error_index, 1)
        self.assertEqual([one["statusCode"] for one in raised.exception.operation_responses], [424, 409])

    def changes(self, container, **options):
        found = list(container.query_items_change_feed(**options))
        return found, container.client_connection.last_response_headers["etag"]

    def test_change_feed(self):
        container = self.new_container()
        for n in range(30):
            container.create_item({"id": str(n), "pk": f"p{n % 7}", "n": n})
        found, token = self.changes(container, start_time="Beginning", max_item_count=4)
        self.assertEqual(sorted(item["n"] for item in found), list(range(30)))
        container.upsert_item({"id": "3", "pk": "p3", "n": 300})
        found, token = self.changes(container, continuation=token)
        self.assertEqual([item["n"] for item in found], [300])
        self.assertEqual(self.changes(container, continuation=token)[0], [])
        found, _ = self.changes(container, start_time="Beginning", partition_key="p1")
        self.assertEqual([item["n"] for item in found], [1, 8, 15, 22, 29])
        ranges = list(container.read_feed_ranges())
        parts = [self.changes(container, start_time="Beginning", feed_range=one)[0] for one in ranges]
        self.assertEqual(sum(map(len, parts)), 30)
        an_hour_ago = datetime.now(timezone.utc) - timedelta(hours=1)
        self.assertEqual(len(self.changes(container, start_time=an_hour_ago)[0]), 30)
        self.assertEqual(self.changes(container, start_time="Now")[0], [])

    def test_throughput(self):
        container = self.new_container(offer_throughput=600)
        self.assertEqual(container.get_throughput().offer_throughput, 600)
        self.assertEqual(container.replace_throughput(900).offer_throughput, 900)
        container = self.new_container(offer_throughput=ThroughputProperties(auto_scale_max_throughput=4000))
        self.assertEqual(container.get_throughput().auto_scale_max_throughput, 4000)
        container.replace_throughput(ThroughputProperties(auto_scale_max_throughput=6000))
        self.assertEqual(container.get_throughput().auto_scale_max_throughput, 6000)
        self.assert_fails(400, self.new_container, offer_throughput=10)
