/**
 * appendHistory: appends events outside a turn (tests and tools; the runtime appends with ackTurn).
 *
 * Argument: { instanceId, slot, incarnation, execution, page: NewPage }
 * Result:   { status: "appended" } | { status: "duplicateEvent", lastEvent }
 * Reads:    head; x:<execution> for an earlier execution
 * Writes:   head; h:<execution>:<first>; x:<execution>
 * Uses:     store, head, execution
 *
 * @param {{instanceId: string, slot: number, incarnation: string, execution: number, page: NewPage}} argument
 */
async function appendHistory(argument) {
  const now = Date.now();
  const head = (await readHead()) || newHead(argument.instanceId, argument.slot, argument.incarnation);
  const record = await openExecution(head, argument.execution, now);
  if (argument.page.first <= record.lastEvent) {
    return { status: "duplicateEvent", lastEvent: record.lastEvent };
  }
  await appendPage(head, record, argument.page);
  await saveExecution(head, record);
  await saveHead(head);
  return { status: "appended" };
}
