// Resources as the SDK uses them: databases, containers, items, batches, bulk, change feed, throughput.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { ChangeFeedStartFrom, PartitionKeyBuilder } from "@azure/cosmos";
import { client, newDatabase } from "./support.mjs";

const cosmos = client();
let database;
before(async () => {
  database = await newDatabase(cosmos, "resources");
});
after(() => database?.delete());

/** A new container with `/pk` unless told otherwise. */
async function newContainer(definition = {}, options = {}) {
  const { container } = await database.containers.create(
    { id: `c-${randomUUID()}`, partitionKey: { paths: ["/pk"], version: 2 }, ...definition },
    options,
  );
  return container;
}

/** Rejects with this code, and sub-status where one is given. */
const fails = (promise, code, substatus) =>
  assert.rejects(promise, (error) => {
    assert.equal(error.code, code, error.message);
    if (substatus !== undefined) {
      assert.equal(error.substatus, substatus);
    }
    return true;
  });

describe("account and databases", () => {
  test("the account says where it is", async () => {
    const { resource } = await cosmos.getDatabaseAccount();
    assert.equal(resource.consistencyPolicy, "Session");
    assert.equal(await cosmos.getWriteEndpoint(), await cosmos.getReadEndpoint());
  });

  test("create, read, list, query, delete", async () => {
    const id = `db-${randomUUID()}`;
    const { resource, statusCode } = await cosmos.databases.create({ id });
    assert.equal(statusCode, 201);
    assert.ok(resource._rid && resource._self && resource._etag && resource._ts);
    await fails(cosmos.databases.create({ id }), 409);
    assert.equal((await cosmos.databases.createIfNotExists({ id })).statusCode, 200);
    const listed = await cosmos.databases.readAll({ maxItemCount: 1 }).fetchAll();
    assert.ok(listed.resources.some((one) => one.id === id));
    const query = { query: "SELECT * FROM d WHERE d.id = @id", parameters: [{ name: "@id", value: id }] };
    assert.equal((await cosmos.databases.query(query).fetchAll()).resources.length, 1);
    assert.equal((await cosmos.database(id).delete()).statusCode, 204);
    await fails(cosmos.database(id).read(), 404);
    for (const bad of ["a/b", "a?b", "a#b", "a\\b", "ends in space "]) {
      await assert.rejects(cosmos.databases.create({ id: bad }));
    }
  });
});

describe("containers", () => {
  test("definitions are filled in, replaced and refused", async () => {
    const container = await newContainer({ defaultTtl: 100 });
    const { resource } = await container.read();
    assert.equal(resource.indexingPolicy.indexingMode, "consistent");
    assert.equal(resource.conflictResolutionPolicy.mode, "LastWriterWins");
    resource.defaultTtl = -1;
    resource.indexingPolicy.excludedPaths.push({ path: "/big/*" });
    const replaced = await container.replace(resource);
    assert.equal(replaced.resource.defaultTtl, -1);
    assert.ok(replaced.resource.indexingPolicy.excludedPaths.some(({ path }) => path === "/big/*"));
    await fails(container.replace({ ...resource, partitionKey: { paths: ["/other"], version: 2 } }), 400);
    await fails(database.containers.create({ id: container.id, partitionKey: "/pk" }), 409);
  });

  test("policies are kept", async () => {
    const definition = {
      uniqueKeyPolicy: { uniqueKeys: [{ paths: ["/email"] }] },
      computedProperties: [{ name: "lower", query: "SELECT VALUE LOWER(c.name) FROM c" }],
      conflictResolutionPolicy: { mode: "LastWriterWins", conflictResolutionPath: "/when" },
    };
    const container = await newContainer(definition);
    const { resource } = await container.read();
    assert.deepEqual(resource.uniqueKeyPolicy.uniqueKeys[0].paths, ["/email"]);
    assert.deepEqual(resource.computedProperties, definition.computedProperties);
    assert.equal(resource.conflictResolutionPolicy.conflictResolutionPath, "/when");
  });

  test("quota and index progress are told where asked for", async () => {
    const container = await newContainer();
    await container.items.create({ id: "x", pk: "a" });
    const { headers } = await container.read({ populateQuotaInfo: true });
    assert.match(headers["x-ms-resource-quota"], /collectionSize=/);
    assert.match(headers["x-ms-resource-usage"], /documentsCount=1;/);
    assert.equal(headers["x-ms-documentdb-collection-index-transformation-progress"], "100");
  });

  test("feed ranges cover the key space", async () => {
    const container = await newContainer();
    const ranges = await container.getFeedRanges();
    assert.ok(ranges.length >= 1);
    const { resources } = await container.readPartitionKeyRanges().fetchAll();
    assert.equal(resources.length, ranges.length);
  });
});

describe("items", () => {
  test("life of an item, with etags", async () => {
    const container = await newContainer();
    const created = await container.items.create({ id: "x", pk: "a", n: 1 });
    assert.equal(created.statusCode, 201);
    assert.ok(created.requestCharge > 0 && created.etag && created.activityId);
    await fails(container.items.create({ id: "x", pk: "a" }), 409);
    const item = container.item("x", "a");
    const unchanged = await item.read({ accessCondition: { type: "IfNoneMatch", condition: created.etag } });
    assert.equal(unchanged.statusCode, 304);
    const replaced = await item.replace(
      { id: "x", pk: "a", n: 2 },
      { accessCondition: { type: "IfMatch", condition: created.etag } },
    );
    assert.notEqual(replaced.etag, created.etag);
    await fails(
      item.replace({ id: "x", pk: "a" }, { accessCondition: { type: "IfMatch", condition: created.etag } }),
      412,
    );
    const upserted = await container.items.upsert({ id: "x", pk: "a", n: 3 });
    assert.equal(upserted.statusCode, 200);
    assert.equal((await container.items.upsert({ id: "y", pk: "a" })).statusCode, 201);
    await fails(item.delete({ accessCondition: { type: "IfMatch", condition: created.etag } }), 412);
    assert.equal((await item.delete()).statusCode, 204);
    assert.equal((await item.read()).statusCode, 404);
    const generated = await container.items.create({ pk: "a" });
    assert.match(generated.resource.id, /^[0-9a-f-]{36}$/);
  });

  test("keys of every kind", async () => {
    for (const version of [1, 2]) {
      const container = await newContainer({ partitionKey: { paths: ["/pk"], version } });
      const keys = ["text", "", "ünïcödé ✓", 0, -1.5, 1e300, true, false, null];
      for (const pk of keys) {
        await container.items.create({ id: "x", pk, version });
        const { resource } = await container.item("x", pk).read();
        assert.deepEqual(resource.pk, pk);
      }
      await container.items.create({ id: "x" });
      assert.equal((await container.item("x").read()).resource.id, "x");
      const { resources } = await container.items.readAll().fetchAll();
      assert.equal(resources.length, keys.length + 1);
    }
  });

  test("hierarchical keys", async () => {
    const container = await newContainer({
      partitionKey: { paths: ["/tenant", "/user", "/session"], kind: "MultiHash", version: 2 },
    });
    for (const [tenant, user, session] of [["t1", "u1", "s1"], ["t1", "u1", "s2"], ["t1", "u2", "s1"], ["t2", "u1", "s1"]]) {
      await container.items.create({ id: "x", tenant, user, session });
    }
    const key = new PartitionKeyBuilder().addValue("t1").addValue("u1").addValue("s2").build();
    assert.equal((await container.item("x", key).read()).resource.session, "s2");
    const all = async (partitionKey) =>
      (await container.items.query("SELECT * FROM c", { partitionKey }).fetchAll()).resources.length;
    assert.deepEqual([await all(["t1"]), await all(["t1", "u1"]), await all(["t1", "u1", "s1"])], [3, 2, 1]);
  });

  test("patches", async () => {
    const container = await newContainer();
    await container.items.create({ id: "x", pk: "a", n: 1, list: [1, 3], gone: true });
    const item = container.item("x", "a");
    const { resource } = await item.patch([
      { op: "incr", path: "/n", value: 4 },
      { op: "add", path: "/list/1", value: 2 },
      { op: "set", path: "/deep", value: { er: null } },
      { op: "remove", path: "/gone" },
      { op: "move", from: "/deep", path: "/moved" },
    ]);
    assert.deepEqual([resource.n, resource.list, resource.moved, resource.gone], [5, [1, 2, 3], { er: null }, undefined]);
    const conditional = (condition) => item.patch({ condition, operations: [{ op: "incr", path: "/n", value: 1 }] });
    assert.equal((await conditional("from c where c.n = 5")).resource.n, 6);
    await fails(conditional("from c where c.n = 5"), 412);
    await fails(container.item("none", "a").patch([{ op: "set", path: "/n", value: 1 }]), 404);
  });

  test("unique keys hold within a partition", async () => {
    const container = await newContainer({ uniqueKeyPolicy: { uniqueKeys: [{ paths: ["/email"] }] } });
    await container.items.create({ id: "1", pk: "a", email: "x@y" });
    await fails(container.items.create({ id: "2", pk: "a", email: "x@y" }), 409);
    await container.items.create({ id: "2", pk: "b", email: "x@y" });
    await container.items.create({ id: "3", pk: "a" });
    await fails(container.items.create({ id: "4", pk: "a" }), 409);
    await fails(container.items.upsert({ id: "3", pk: "a", email: "x@y" }), 409);
  });

  test("items expire", async () => {
    const container = await newContainer({ defaultTtl: -1 });
    await container.items.create({ id: "short", pk: "a", ttl: 1 });
    await container.items.create({ id: "long", pk: "a" });
    const deadline = Date.now() + 10_000;
    while ((await container.item("short", "a").read()).statusCode !== 404) {
      assert.ok(Date.now() < deadline, "still there");
    }
    const { resources } = await container.items.readAll().fetchAll();
    assert.deepEqual(resources.map(({ id }) => id), ["long"]);
    await fails(container.items.create({ id: "zero", pk: "a", ttl: 0 }), 400);
  });
});

describe("batches and bulk", () => {
  test("a batch is all or nothing", async () => {
    const container = await newContainer();
    const { result, code } = await container.items.batch(
      [
        { operationType: "Create", resourceBody: { id: "1", pk: "a", n: 1 } },
        { operationType: "Upsert", resourceBody: { id: "2", pk: "a" } },
        { operationType: "Patch", id: "1", resourceBody: { operations: [{ op: "incr", path: "/n", value: 1 }] } },
        { operationType: "Read", id: "1" },
        { operationType: "Delete", id: "2" },
      ],
      "a",
    );
    assert.equal(code, 200);
    assert.deepEqual(result.map(({ statusCode }) => statusCode), [201, 201, 200, 200, 204]);
    assert.equal(result[3].resourceBody.n, 2);
    const failed = await container.items.batch(
      [
        { operationType: "Create", resourceBody: { id: "3", pk: "a" } },
        { operationType: "Create", resourceBody: { id: "1", pk: "a" } },
      ],
      "a",
    );
    assert.deepEqual([failed.code, failed.result.map(({ statusCode }) => statusCode)], [207, [424, 409]]);
    assert.equal((await container.item("3", "a").read()).statusCode, 404);
  });

  test("executeBulkOperations answers for each operation", async () => {
    const container = await newContainer();
    const creates = Array.from({ length: 250 }, (_, n) => ({
      operationType: "Create",
      partitionKey: `p${n % 20}`,
      resourceBody: { id: `${n}`, pk: `p${n % 20}`, n },
    }));
    const created = await container.items.executeBulkOperations(creates);
    assert.ok(created.every(({ response }) => response?.statusCode === 201), JSON.stringify(created.find((one) => one.error)));
    const mixed = await container.items.executeBulkOperations([
      { operationType: "Create", partitionKey: "p0", resourceBody: { id: "0", pk: "p0" } },
      { operationType: "Patch", partitionKey: "p1", id: "1", resourceBody: { operations: [{ op: "incr", path: "/n", value: 9 }] } },
      { operationType: "Read", partitionKey: "p1", id: "1" },
      { operationType: "Replace", partitionKey: "p2", id: "2", resourceBody: { id: "2", pk: "p2", new: true } },
      { operationType: "Upsert", partitionKey: "p3", resourceBody: { id: "up", pk: "p3" } },
      { operationType: "Delete", partitionKey: "p4", id: "4" },
      { operationType: "Read", partitionKey: "p4", id: "none" },
    ]);
    assert.deepEqual(
      mixed.map(({ response, error }) => response?.statusCode ?? error.code),
      [409, 200, 200, 200, 201, 204, 404],
    );
    const { resources } = await container.items.query("SELECT VALUE COUNT(1) FROM c").fetchAll();
    assert.deepEqual(resources, [250]);
  });

  test("bulk of the older interface", async () => {
    const container = await newContainer();
    const response = await container.items.bulk(
      Array.from({ length: 30 }, (_, n) => ({
        operationType: "Create",
        partitionKey: `${n}`,
        resourceBody: { id: `${n}`, pk: `${n}` },
      })),
    );
    assert.ok(response.every(({ statusCode }) => statusCode === 201));
  });
});

describe("change feed", () => {
  /** Reads until there is nothing new. */
  async function drain(iterator) {
    const changes = [];
    for await (const page of iterator.getAsyncIterator()) {
      if (page.statusCode === 304) {
        return { changes, token: page.continuationToken };
      }
      changes.push(...page.result);
    }
    throw new Error("the iterator ended");
  }

  test("of a container, continued", async () => {
    const container = await newContainer();
    for (let n = 0; n < 30; n++) {
      await container.items.create({ id: `${n}`, pk: `p${n % 7}`, n });
    }
    const options = { maxItemCount: 4, changeFeedStartFrom: ChangeFeedStartFrom.Beginning() };
    const first = await drain(container.items.getChangeFeedIterator(options));
    assert.equal(first.changes.length, 30);
    await container.item("3", "p3").replace({ id: "3", pk: "p3", n: 300 });
    const from = ChangeFeedStartFrom.Continuation(first.token);
    const second = await drain(container.items.getChangeFeedIterator({ changeFeedStartFrom: from }));
    assert.deepEqual(second.changes.map(({ n }) => n), [300]);
    assert.ok(second.changes[0]._lsn > 0);
  });

  test("of a partition, of a range, from now and from a time", async () => {
    const container = await newContainer();
    for (let n = 0; n < 12; n++) {
      await container.items.create({ id: `${n}`, pk: `p${n % 3}`, n });
    }
    const of = (changeFeedStartFrom) => drain(container.items.getChangeFeedIterator({ changeFeedStartFrom }));
    const one = await of(ChangeFeedStartFrom.Beginning("p1"));
    assert.deepEqual(one.changes.map(({ n }) => n), [1, 4, 7, 10]);
    const ranges = await container.getFeedRanges();
    let sum = 0;
    for (const range of ranges) {
      sum += (await of(ChangeFeedStartFrom.Beginning(range))).changes.length;
    }
    assert.equal(sum, 12);
    assert.equal((await of(ChangeFeedStartFrom.Time(new Date(Date.now() - 3_600_000)))).changes.length, 12);
    const now = await of(ChangeFeedStartFrom.Now());
    assert.equal(now.changes.length, 0);
    await container.items.create({ id: "new", pk: "p1" });
    const later = await of(ChangeFeedStartFrom.Continuation(now.token));
    assert.deepEqual(later.changes.map(({ id }) => id), ["new"]);
  });
});

describe("throughput", () => {
  test("manual, read and replaced", async () => {
    const container = await newContainer({ throughput: 600 });
    const { offer, resource } = await container.readOffer();
    assert.equal(resource.content.offerThroughput, 600);
    resource.content.offerThroughput = 900;
    await offer.replace(resource);
    assert.equal((await container.readOffer()).resource.content.offerThroughput, 900);
  });

  test("autoscale, and shared by a database", async () => {
    const container = await newContainer({ maxThroughput: 4000 });
    const { resource } = await container.readOffer();
    assert.equal(resource.content.offerAutopilotSettings.maxThroughput, 4000);
    const { database: shared } = await cosmos.databases.create({ id: `shared-${randomUUID()}`, throughput: 500 });
    try {
      assert.equal((await shared.readOffer()).resource.content.offerThroughput, 500);
      const { container: sharing } = await shared.containers.create({ id: "c", partitionKey: "/pk" });
      assert.equal((await sharing.readOffer()).resource, undefined);
    } finally {
      await shared.delete();
    }
  });
});
