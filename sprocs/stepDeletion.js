/**
 * stepDeletion: moves the record of a deletion on. While it is open it can be committed or undone, not both, by
 * whoever comes first. The record is its owner's until the lease has run out by the server's clock.
 *
 * Argument: { instanceId, id, step, leaseMs, partitions? }
 *           "begin"   creates it, open; `partitions` are those of the instances
 *           "hold"    renews the lease
 *           "commit"  decides that the instances go; also renews the lease
 *           "undo"    decides that they stay; also renews the lease
 *           "end"     removes it
 * Result:   { status: "open" | "committed" | "undone" | "absent" } what it is now
 * Reads:    the record
 * Writes:   the record
 * Uses:     store
 *
 * @param {{instanceId: string, id: string, step: "begin" | "hold" | "commit" | "undo" | "end", leaseMs: number,
 *   partitions?: string[]}} argument
 */
async function stepDeletion(argument) {
  /** @type {Deletion | null} */
  const found = await read(argument.id);
  if (argument.step === "end") {
    if (found) {
      await remove(/** @type {any} */ (found));
    }
    return { status: "absent" };
  }
  if (!found && argument.step !== "begin") {
    return { status: "absent" };
  }
  /** @type {Deletion} */
  const deletion = found || {
    id: argument.id,
    instanceId: argument.instanceId,
    type: "deletion",
    outboxAt: 0,
    partitions: /** @type {string[]} */ (argument.partitions),
    committed: false,
    undone: false
  };
  if (!deletion.committed && !deletion.undone) {
    deletion.committed = argument.step === "commit";
    deletion.undone = argument.step === "undo";
  }
  deletion.outboxAt = Date.now() + argument.leaseMs;
  await save(deletion);
  return { status: deletion.committed ? "committed" : deletion.undone ? "undone" : "open" };
}
