from azure.cosmos import PartitionKey

from support import DatabaseTestCase


class Queries(DatabaseTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.items = cls.database.create_container("items", PartitionKey(path="/pk"))
        for n in range(5):
            cls.items.create_item({"id": f"d{n}", "pk": f"p{n}", "n": n})

    def test_a_filter_over_all_partitions(self):
        found = self.items.query_items("SELECT VALUE c.n FROM c WHERE c.n > 2", enable_cross_partition_query=True)
        self.assertEqual(sorted(found), [3, 4])
