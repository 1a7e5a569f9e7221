/**
 * settleOutbox: deletes outbox documents whose messages have been delivered.
 *
 * Argument: { ids }
 * Result:   { status: "settled", removed }
 * Reads:    the outbox documents
 * Writes:   the outbox documents (deleted)
 * Uses:     store
 *
 * @param {{ids: string[]}} argument
 */
async function settleOutbox(argument) {
  let removed = 0;
  for (const id of argument.ids) {
    if (await removeById(id)) {
      removed += 1;
    }
  }
  return { status: "settled", removed: removed };
}
