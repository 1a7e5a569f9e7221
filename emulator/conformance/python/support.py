"""What the programs share: a client from the environment and a database that goes away with its suite."""

import os
import unittest
import uuid

from azure.cosmos import CosmosClient


def client(**options):
    """A client of the account that the environment names."""
    return CosmosClient(os.environ["COSMOS_ENDPOINT"], os.environ["COSMOS_KEY"], **options)


class DatabaseTestCase(unittest.TestCase):
    """A class of tests with a client and a database of its own, as ``self.client`` and ``self.database``."""

    @classmethod
    def setUpClass(cls):
        cls.client = client()
        cls.database = cls.client.create_database(f"{cls.__name__.lower()}-{uuid.uuid4()}")
        cls.addClassCleanup(cls.client.delete_database, cls.database.id)
