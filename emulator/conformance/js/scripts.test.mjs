// Stored procedures, triggers and user-defined functions through @azure/cosmos.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { client, newDatabase } from "./support.mjs";

describe("server-side scripts", () => {
  let database, container, scripts;

  before(async () => {
    database = await newDatabase(client(), "scripts");
    ({ container } = await database.containers.create({ id: "c", partitionKey: { paths: ["/pk"] } }));
    scripts = container.scripts;
  });
  after(() => database.delete());

  /** Create, read, list, query, replace and delete of one type of script. */
  async function lifecycle(resources, one, first, change) {
    const { resource: created } = await resources.create(first);
    for (const name of Object.keys(first)) {
      assert.equal(String(created[name]), String(first[name]));
    }
    await assert.rejects(resources.create(first), { code: 409 });
    const { resources: listed } = await resources.readAll().fetchAll();
    assert.ok(listed.some((resource) => resource.id === first.id));
    const query = { query: "SELECT * FROM root r WHERE r.id = @id", parameters: [{ name: "@id", value: first.id }] };
    const { resources: found } = await resources.query(query).fetchAll();
    assert.equal(found.length, 1);
    const { resource: replaced } = await one(first.id).replace({ ...created, ...change });
    assert.equal(replaced.body, change.body);
    assert.equal(replaced._rid, created._rid);
    assert.equal((await one(first.id).read()).resource.body, change.body);
    await one(first.id).delete();
    await assert.rejects(one(first.id).read(), { code: 404 });
  }

  it("are created, read, listed, queried, replaced and deleted", async () => {
    const body = "function () { var x = 10; }";
    const change = { body: "function () { var x = 20; }" };
    await lifecycle(scripts.storedProcedures, (id) => scripts.storedProcedure(id), { id: "p", body }, change);
    await lifecycle(scripts.userDefinedFunctions, (id) => scripts.userDefinedFunction(id), { id: "f", body }, change);
    const trigger = { id: "t", body, triggerType: "Pre", triggerOperation: "All" };
    await lifecycle(scripts.triggers, (id) => scripts.trigger(id), trigger, change);
  });

  it("procedures run per partition, with results, logs and errors", async () => {
    const body = function (id, fail) {
      console.log("id=%s", id);
      const accepted = __.createDocument(__.getSelfLink(), { id, pk: "a" }, (err, doc) => {
        if (err) throw err;
        if (fail) throw new Error(4321, "asked to");
        getContext().getResponse().setBody({ id: doc.id });
      });
      if (!accepted) throw new Error("not accepted");
    };
    const { resource } = await scripts.storedProcedures.create({ id: "create", body });
    const procedure = scripts.storedProcedure(resource.id);
    const done = await procedure.execute("a", ["x", false], { enableScriptLogging: true });
    assert.deepEqual(done.resource, { id: "x" });
    assert.equal(decodeURIComponent(done.headers["x-ms-documentdb-script-log-results"]), "id=x");
    assert.ok(done.requestCharge > 0);
    await assert.rejects(procedure.execute("a", ["y", true]), { code: 400, substatus: 4321 });
    await assert.rejects(procedure.execute("a", ["x", false]), { code: 400, substatus: 409 });
    assert.equal((await container.item("y", "a").read()).statusCode, 404);
    await assert.rejects(procedure.execute("b", ["z", false]), { code: 400 });
    await assert.rejects(scripts.storedProcedure("none").execute("a", []), { code: 404 });
  });

  it("triggers change and check what is written", async () => {
    await scripts.triggers.create({
      id: "stamp",
      triggerType: "Pre",
      triggerOperation: "All",
      body: function () {
        const item = getContext().getRequest().getBody();
        if (item.bad) throw new Error(409, "bad item");
        item.by = getContext().getRequest().getOperationType();
        getContext().getRequest().setBody(item);
      }
    });
    await scripts.triggers.create({
      id: "count",
      triggerType: "Post",
      triggerOperation: "Create",
      body: function () {
        const link = __.getAltLink() + "/docs/total";
        const created = getContext().getResponse().getBody();
        if (created.reject) throw new Error(4444, "rejected");
        __.readDocument(link, (err, total) => {
          if (err && err.number !== 404) throw err;
          const next = { id: "total", pk: "t", n: (total ? total.n : 0) + 1 };
          __.upsertDocument(__.getSelfLink(), next, (error) => {
            if (error) throw error;
          });
        });
      }
    });
    const options = { preTriggerInclude: "stamp", postTriggerInclude: "count" };
    const { resource, item } = await container.items.create({ id: "1", pk: "t" }, options);
    assert.equal(resource.by, "Create");
    await container.items.create({ id: "2", pk: "t" }, options);
    assert.equal((await container.item("total", "t").read()).resource.n, 2);
    const replaced = await item.replace({ id: "1", pk: "t" }, { preTriggerInclude: "stamp" });
    assert.equal(replaced.resource.by, "Replace");
    const upserted = await container.items.upsert({ id: "1", pk: "t" }, { preTriggerInclude: "stamp" });
    assert.equal(upserted.resource.by, "Upsert");
    const create = (id, extra) => container.items.create({ id, pk: "t", ...extra }, options);
    await assert.rejects(create("3", { bad: true }), { code: 400, substatus: 409 });
    await assert.rejects(create("3", { reject: true }), { code: 400, substatus: 4444 });
    assert.equal((await container.item("3", "t").read()).statusCode, 404);
    await assert.rejects(item.replace({ id: "1", pk: "t" }, { postTriggerInclude: "count" }), { code: 400 });
    await assert.rejects(item.delete({ preTriggerInclude: "none" }), { code: 400 });
    await item.delete({ preTriggerInclude: "stamp" });
  });

  it("functions are called by queries", async () => {
    const body = function (doc, rate) {
      if (typeof doc.income !== "number") throw new Error(32766, "no income");
      return doc.income * rate;
    };
    await scripts.userDefinedFunctions.create({ id: "tax", body });
    for (const income of [10, 20, 30]) {
      await container.items.create({ id: `i${income}`, pk: `u${income}`, income });
    }
    const all = async (query, options) => (await container.items.query(query, options).fetchAll()).resources;
    assert.deepEqual(await all("SELECT VALUE udf.tax(c, 0.5) FROM c WHERE c.income = 20"), [10]);
    const rich = "SELECT VALUE c.income FROM c WHERE IS_DEFINED(c.income) AND udf.tax(c, 0.5) >= 10";
    assert.deepEqual((await all(rich)).sort(), [20, 30]);
    await container.items.create({ id: "poor", pk: "u0", income: "none" });
    await assert.rejects(all("SELECT VALUE udf.tax(c, 1) FROM c", { partitionKey: "u0" }), { code: 400 });
  });
});
