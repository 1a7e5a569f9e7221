"""Physical partitions that split while the SDK works. Only the emulator can be told to; skipped elsewhere."""

import os
import unittest

from azure.cosmos import PartitionKey

from support import DatabaseTestCase, split_range


@unittest.skipUnless(os.environ.get("EMULATOR_CONTROL"), "no emulator's control endpoint")
class Splits(DatabaseTestCase):
    def filled(self, name, count):
        container = self.database.create_container(name, PartitionKey(path="/pk"))
        self.fill(container, 0, count)
        return container

    def fill(self, container, start, end):
        for n in range(start, end):
            container.create_item({"id": str(n), "pk": f"p{n}", "n": n})

    def split(self, container):
        split_range(self.database.id, container.id, "0")

    def test_items_and_queries_find_the_new_partitions(self):
        container = self.filled("items", 30)
        before = len(list(container.read_feed_ranges()))
        self.split(container)
        for n in range(30):
            self.assertEqual(container.read_item(str(n), f"p{n}")["n"], n)
        found = container.query_items("SELECT VALUE c.n FROM c ORDER BY c.n", enable_cross_partition_query=True)
        self.assertEqual(list(found), list(range(30)))
        count = container.query_items("SELECT VALUE COUNT(1) FROM c", enable_cross_partition_query=True)
        self.assertEqual(list(count), [30])
        self.assertEqual(len(list(container.read_feed_ranges(force_refresh=True))), before + 1)

    def test_a_query_goes_on_from_page_to_page(self):
        container = self.filled("paged", 40)
        query = "SELECT * FROM c"
        pages = container.query_items(query, enable_cross_partition_query=True, max_item_count=7).by_page()
        found = []
        for number, page in enumerate(pages):
            found.extend(item["n"] for item in page)
            if number == 1:
                self.split(container)
        # Ordered queries begin anew in this SDK (4.x) when a range goes, and bring rows twice.
        self.assertEqual(sorted(found), list(range(40)))

    def test_the_change_feed_misses_nothing(self):
        container = self.filled("feed", 20)
        first = container.query_items_change_feed(start_time="Beginning")
        seen = {item["n"] for item in first}
        continuation = container.client_connection.last_response_headers["etag"]
        self.split(container)
        self.fill(container, 20, 25)
        new = {item["n"] for item in container.query_items_change_feed(continuation=continuation)}
        self.assertEqual(seen, set(range(20)))
        self.assertEqual(new, set(range(20, 25)))
