"""Queries as the SDK runs them, compared with a computation over the same documents in plain Python."""

import itertools
import json

from azure.cosmos import PartitionKey
from azure.cosmos.exceptions import CosmosHttpResponseError

from support import DatabaseTestCase

DOCUMENTS = [
    {
        "id": f"d{n}",
        "pk": f"p{n % 17}",
        "n": n,
        "mod": n % 4,
        "team": ("red", "green", "blue")[n % 3],
        "name": f"name {chr(97 + n * 7 % 26)}{n}",
        "tags": [{"label": f"t{tag}", "weight": n * tag} for tag in range(n % 4)],
        **({} if n % 3 == 0 else {"score": n * 37 % 23}),
    }
    for n in range(60)
]
SCORES = [document["score"] for document in DOCUMENTS if "score" in document]


def canonical(rows):
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


def values(key, condition=lambda document: True):
    return [document[key] for document in DOCUMENTS if condition(document)]


class Queries(DatabaseTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        team = {"path": "/team", "order": "ascending"}
        policy = {"compositeIndexes": [[team, {"path": "/n", "order": "descending"}]]}
        cls.items = cls.database.create_container("items", PartitionKey(path="/pk"), indexing_policy=policy)
        for document in DOCUMENTS:
            cls.items.create_item(document)

    def rows(self, query, **options):
        if "partition_key" not in options:
            options["enable_cross_partition_query"] = True
        options.setdefault("max_item_count", 7)
        return list(self.items.query_items(query, **options))

    def in_order(self, query, expected, **options):
        self.assertEqual(self.rows(query, **options), expected)

    def in_any_order(self, query, expected, **options):
        self.assertEqual(canonical(self.rows(query, **options)), canonical(expected))

    def test_filters(self):
        self.in_any_order("SELECT VALUE c.id FROM c WHERE c.n > 41", values("id", lambda d: d["n"] > 41))
        self.in_any_order("SELECT VALUE c.id FROM c WHERE c.pk = 'p3'", values("id", lambda d: d["pk"] == "p3"))
        self.in_any_order(
            "SELECT VALUE c.id FROM c WHERE c.team = @team AND c.name LIKE @name",
            values("id", lambda d: d["team"] == "red" and "a" in d["name"][5:]),
            parameters=[{"name": "@team", "value": "red"}, {"name": "@name", "value": "%name %a%"}],
        )
        self.in_any_order("SELECT VALUE c.id FROM c", values("id", lambda d: d["pk"] == "p3"), partition_key="p3")
        self.in_order("SELECT VALUE 1 + 1", [2])

    def test_order(self):
        numbers = values("n")
        self.in_order("SELECT VALUE c.n FROM c ORDER BY c.n", numbers)
        self.in_order("SELECT VALUE c.n FROM c ORDER BY c.n DESC", numbers[::-1])
        self.in_order("SELECT TOP 13 VALUE c.n FROM c ORDER BY c.n DESC", numbers[:-14:-1])
        self.in_order("SELECT VALUE c.n FROM c ORDER BY c.n OFFSET 11 LIMIT 9", numbers[11:20])
        self.in_order(
            "SELECT VALUE c.id FROM c ORDER BY c.team, c.n DESC",
            [d["id"] for d in sorted(DOCUMENTS, key=lambda d: (d["team"], -d["n"]))],
        )
        self.in_order(
            "SELECT c.n, t.label FROM c JOIN t IN c.tags WHERE t.label = 't1' ORDER BY c.n",
            [{"n": d["n"], "label": "t1"} for d in DOCUMENTS if len(d["tags"]) > 1],
        )
        own = values("n", lambda d: d["pk"] == "p3")
        self.in_order("SELECT VALUE c.n FROM c ORDER BY c.n DESC", own[::-1], partition_key="p3", max_item_count=1)

    def test_order_needs_a_composite_index(self):
        with self.assertRaises(CosmosHttpResponseError) as refused:
            self.rows("SELECT * FROM c ORDER BY c.name, c.n")
        self.assertEqual(refused.exception.status_code, 400)

    def test_parts(self):
        for query in ("SELECT TOP 10 VALUE c.id FROM c", "SELECT VALUE c.id FROM c OFFSET 5 LIMIT 10"):
            self.assertEqual(len(set(self.rows(query))), 10, query)

    def test_distinct(self):
        self.in_any_order("SELECT DISTINCT VALUE c.team FROM c", ["red", "green", "blue"])
        self.in_order("SELECT DISTINCT VALUE c.mod FROM c ORDER BY c.mod DESC", [3, 2, 1, 0])
        pairs = {(d["team"], d["mod"]) for d in DOCUMENTS}
        self.in_any_order("SELECT DISTINCT c.team, c.mod FROM c", [{"team": t, "mod": m} for t, m in pairs])

    def test_aggregates(self):
        for call, over in (
            ("COUNT(c.score)", len),
            ("SUM(c.score)", sum),
            ("AVG(c.score)", lambda scores: sum(scores) / len(scores)),
            ("MIN(c.score)", min),
            ("MAX(c.score)", max),
        ):
            with self.subTest(call):
                self.in_order(f"SELECT VALUE {call} FROM c", [over(SCORES)])
                own = [d["score"] for d in DOCUMENTS if d["pk"] == "p4" and "score" in d]
                self.in_order(f"SELECT VALUE {call} FROM c", [over(own)], partition_key="p4")
                self.in_order(f"SELECT VALUE {call} FROM c WHERE c.pk = 'p4'", [over(own)])
                self.in_order(f"SELECT {call} AS result FROM c", [{"result": over(own)}], partition_key="p4")
        self.in_order("SELECT VALUE COUNT(1) FROM c JOIN t IN c.tags", [sum(len(tags) for tags in values("tags"))])

    def test_what_this_sdk_cannot_merge(self):
        with self.assertRaises(CosmosHttpResponseError) as refused:
            self.rows("SELECT COUNT(1) AS count FROM c")
        self.assertIn("Cross partition query only supports 'VALUE <AggregateFunc>'", str(refused.exception))
        with self.assertRaises(CosmosHttpResponseError) as refused:
            self.rows("SELECT c.team FROM c GROUP BY c.team")
        self.assertIn("which the calling client does not support", str(refused.exception))

    def test_groups_of_one_partition_key(self):
        own = sorted((d["mod"], d["n"]) for d in DOCUMENTS if d["pk"] == "p3")
        expected = [
            {"mod": mod, "count": len(numbers), "most": max(numbers)}
            for mod, group in itertools.groupby(own, key=lambda pair: pair[0])
            for numbers in [[n for _, n in group]]
        ]
        query = "SELECT c.mod, COUNT(1) AS count, MAX(c.n) AS most FROM c GROUP BY c.mod"
        self.in_any_order(query, expected, partition_key="p3")

    def test_subqueries(self):
        self.in_any_order(
            "SELECT c.id, ARRAY(SELECT VALUE t.label FROM t IN c.tags) AS labels FROM c WHERE c.n < 8",
            [{"id": d["id"], "labels": [tag["label"] for tag in d["tags"]]} for d in DOCUMENTS[:8]],
        )
        self.in_any_order(
            "SELECT VALUE c.id FROM c WHERE EXISTS(SELECT VALUE t FROM t IN c.tags WHERE t.weight = 0)",
            values("id", lambda d: any(tag["weight"] == 0 for tag in d["tags"])),
        )

    def test_pages(self):
        found, continuation = [], None
        while True:
            pager = self.items.query_items(
                "SELECT VALUE c.id FROM c", enable_cross_partition_query=True, max_item_count=4
            ).by_page(continuation)
            page = list(next(pager))
            self.assertLessEqual(len(page), 4)
            found += page
            continuation = pager.continuation_token
            if not continuation:
                break
        self.assertEqual(sorted(found), sorted(values("id")))

    def test_pages_of_one_partition_key_by_continuation(self):
        found, continuation = [], None
        while True:
            pager = self.items.query_items(
                "SELECT VALUE c.n FROM c ORDER BY c.n", partition_key="p3", max_item_count=1
            ).by_page(continuation)
            found += list(next(pager))
            continuation = pager.continuation_token
            if not continuation:
                break
        self.assertEqual(found, values("n", lambda d: d["pk"] == "p3"))

    def test_feed_ranges(self):
        found = []
        for feed_range in self.items.read_feed_ranges():
            found += self.items.query_items("SELECT VALUE c.id FROM c", feed_range=feed_range)
        self.assertEqual(sorted(found), sorted(values("id")))

    def test_errors(self):
        for query in ("SELECT", "SELECT * FROM c WHERE", "SELECT NOSUCH(c.a) FROM c", "SELECT x.a FROM c"):
            with self.subTest(query), self.assertRaises(CosmosHttpResponseError) as refused:
                self.rows(query)
            self.assertEqual(refused.exception.status_code, 400)


class HierarchicalKeys(DatabaseTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        key = PartitionKey(path=["/tenant", "/user"], kind="MultiHash")
        cls.items = cls.database.create_container("tenants", key)
        for n in range(60):
            cls.items.create_item({"id": f"d{n}", "n": n, "tenant": f"t{n % 3}", "user": f"u{n % 5}"})

    def numbers(self, query, **options):
        return list(self.items.query_items(query, max_item_count=4, **options))

    def test_whole_keys_prefixes_and_all(self):
        query = "SELECT VALUE c.n FROM c"
        expected = [n for n in range(60) if n % 3 == 1 and n % 5 == 2]
        self.assertEqual(sorted(self.numbers(query, partition_key=["t1", "u2"])), expected)
        prefix = [n for n in range(60) if n % 3 == 1]
        self.assertEqual(sorted(self.numbers(query, partition_key=["t1"])), prefix)
        self.assertEqual(sorted(self.numbers(query, enable_cross_partition_query=True)), list(range(60)))

    def test_prefixes_with_an_order_and_aggregates(self):
        numbers = [n for n in range(60) if n % 3 == 2]
        ordered = "SELECT VALUE c.n FROM c WHERE c.tenant = 't2' ORDER BY c.n DESC"
        self.assertEqual(self.numbers(ordered, enable_cross_partition_query=True), numbers[::-1])
        total = "SELECT VALUE SUM(c.n) FROM c"
        self.assertEqual(self.numbers(total, partition_key=["t2"]), [sum(numbers)])
