"""What the programs share: a client from the environment and a database that goes away with its suite."""

import json
import os
import ssl
import unittest
import urllib.request
import uuid

from azure.cosmos import CosmosClient
from azure.cosmos.documents import SSLConfiguration

# The SDK verifies no certificate of 127.0.0.1 or localhost unless it is told which one to trust.
CERTIFICATE = os.environ.get("COSMOS_CERTIFICATE")


def client(**options):
    """A client of the account that the environment names."""
    if CERTIFICATE:
        trusted = SSLConfiguration()
        trusted.SSLCaCerts = CERTIFICATE
        trusted.SSLCertFile = trusted.SSLKeyFile = None
        options["ssl_config"] = trusted
    return CosmosClient(os.environ["COSMOS_ENDPOINT"], os.environ["COSMOS_KEY"], **options)


def split_range(database, container, range_id):
    """Has the emulator split a physical partition; its control endpoint is in the environment."""
    body = json.dumps({"database": database, "container": container, "range": range_id}).encode()
    context = ssl.create_default_context(cafile=CERTIFICATE)
    urllib.request.urlopen(f"{os.environ['EMULATOR_CONTROL']}/split", body, context=context).close()


class DatabaseTestCase(unittest.TestCase):
    """A class of tests with a client and a database of its own, as ``self.client`` and ``self.database``."""

    @classmethod
    def setUpClass(cls):
        cls.client = client()
        cls.database = cls.client.create_database(f"{cls.__name__.lower()}-{uuid.uuid4()}")
        cls.addClassCleanup(cls.client.delete_database, cls.database.id)
