/**
 * stageTexts: sends texts of a coming commit ahead, because it would not fit into one request. Nobody sees them
 * until the commit refers to them; if it never comes, the next lock of the same document lets go of them.
 *
 * Argument: { instanceId, lockId, workId?, ids, texts: { id, text?, texts? }[] }
 *           `ids` names all documents of the commit, `texts` those of this call: one text each, or a batch; `workId` says that the lock is a
 *           work item's, else it is the turn's
 * Result:   { status: "staged" | "lostLock" }
 *           "staged"    these texts are stored; a repeated call stores them once
 * Reads:    head; w:<execution>:<activity>
 * Writes:   head or w:<execution>:<activity>; t:<id>
 * Uses:     store, head, text, work
 *
 * @param {{instanceId: string, lockId: string, workId?: string, ids: string[],
 *   texts: {id: string, text?: string, texts?: string[]}[]}} argument
 */
async function stageTexts(argument) {
  const now = Date.now();
  const head = await readHead();
  const holder = argument.workId === undefined ? head : await read(argument.workId);
  const held =
    argument.workId === undefined
      ? holdsTurn(head, argument.lockId, now)
      : holdsWork(holder, head, argument.lockId, now);
  if (!held) {
    return { status: "lostLock" };
  }
  if (!holder.staged || holder.staged[0] !== argument.ids[0]) {
    await dropStaged(holder);
    holder.staged = argument.ids;
    await replace(holder);
  }
  const stamp = nextStamp(0, 0, now - 1);
  for (const text of argument.texts) {
    await createIfAbsent({
      id: text.id,
      instanceId: argument.instanceId,
      type: "text",
      stamp: stamp,
      nonce: argument.lockId,
      text: text.text,
      texts: text.texts
    });
  }
  return { status: "staged" };
}
