/**
 * markDeletion: prepares an instance for deletion, or takes that back.
 *
 * Argument: { deletionId, force } marks; from then on no turn is locked or committed
 *           { deletionId, undo: true } unmarks
 * Result:   { status: "marked" | "absent" | "running" | "busy" | "unmarked" }
 *           "absent"    there is nothing to delete
 *           "running"   not forced, and its execution has not ended; nothing written
 *           "busy"      another deletion has marked it; nothing written
 *           "unmarked"  this deletion does not mark it (any more)
 * Reads:    head
 * Writes:   head
 * Uses:     store, head
 *
 * @param {{deletionId: string, force?: boolean, undo?: boolean}} argument
 */
async function markDeletion(argument) {
  const head = await readHead();
  if (argument.undo) {
    if (head && head.deletion && head.deletion.id === argument.deletionId) {
      delete head.deletion;
      setTurnReadyAt(head);
      await saveHead(head);
    }
    return { status: "unmarked" };
  }
  if (!head) {
    return { status: "absent" };
  }
  if (head.deletion) {
    return { status: head.deletion.id === argument.deletionId ? "marked" : "busy" };
  }
  if (!argument.force && head.status === "Running") {
    return { status: "running" };
  }
  head.deletion = { id: argument.deletionId };
  setTurnReadyAt(head);
  await saveHead(head);
  return { status: "marked" };
}
