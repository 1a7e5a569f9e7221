// What the programs share: a client from the environment and a database that goes away with its suite.

import { randomUUID } from "node:crypto";
import { CosmosClient } from "@azure/cosmos";

/** A client of the account that the environment names. */
export function client(options = {}) {
  const { COSMOS_ENDPOINT: endpoint, COSMOS_KEY: key } = process.env;
  if (!endpoint || !key) {
    throw new Error("COSMOS_ENDPOINT and COSMOS_KEY must be set");
  }
  return new CosmosClient({ endpoint, key, ...options });
}

/** A new database; `after(() => database.delete())` is the caller's business. */
export async function newDatabase(cosmos, prefix) {
  const { database } = await cosmos.databases.create({ id: `${prefix}-${randomUUID()}` });
  return database;
}

/** Has the emulator split a physical partition; its control endpoint is in the environment. */
export async function splitRange(database, container, range) {
  const body = JSON.stringify({ database, container, range });
  const response = await fetch(`${process.env.EMULATOR_CONTROL}/split`, { method: "POST", body });
  if (!response.ok) {
    throw new Error(`${response.status} ${await response.text()}`);
  }
}
