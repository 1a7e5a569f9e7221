import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { client, newDatabase } from "./support.mjs";

const cosmos = client();
let database;
let items;

before(async () => {
  database = await newDatabase(cosmos, "queries");
  ({ container: items } = await database.containers.create({ id: "items", partitionKey: { paths: ["/pk"] } }));
  for (let n = 0; n < 5; n++) {
    await items.items.create({ id: `d${n}`, pk: `p${n}`, n });
  }
});
after(() => database?.delete());

test("a filter over all partitions", async () => {
  const { resources } = await items.items.query("SELECT VALUE c.n FROM c WHERE c.n > 2").fetchAll();
  assert.deepEqual(resources.sort(), [3, 4]);
});
