/**
 * Texts of any length. Short ones stay where they are used. Longer ones get a document of their own that is
 * written once, so that the documents rewritten at each turn stay small. Texts that make a request too long are
 * staged: sent ahead into such documents, which become part of the instance when a commit refers to them.
 */

/** A text up to this many characters is kept inline. */
const InlineTextChars = 1024;

/**
 * Stores a text; the answer says where it is.
 *
 * @param {Head} head
 * @param {Payload} payload
 * @param {number} now
 * @returns {Promise<Payload>}
 */
async function storeText(head, payload, now) {
  if (typeof payload !== "string" || payload.length <= InlineTextChars) {
    return payload;
  }
  head.lastStamp = nextStamp(head.lastStamp, 0, now);
  const id = "t:" + head.lastStamp;
  await create({ id: id, instanceId: head.instanceId, type: "text", stamp: head.lastStamp, text: payload });
  return { ref: id };
}

/**
 * Lets go of staged texts that no commit has taken over.
 *
 * @param {{staged?: string[]}} holder the document whose lock they belong to
 * @param {{item: Payload}[]} kept what refers to some of them
 */
async function dropStaged(holder, kept = []) {
  const used = kept.map((holder) => (typeof holder.item === "string" ? "" : holder.item.ref));
  for (const id of holder.staged || []) {
    if (used.indexOf(id) < 0) {
      await removeById(id);
    }
  }
  delete holder.staged;
}

/**
 * Puts texts that were staged in batches where a commit refers to them. The batches are used up by that.
 *
 * @param {{item: Payload}[]} holders
 */
async function unpackBatches(holders) {
  let ref = "";
  /** @type {string[]} */
  let texts = [];
  for (const holder of holders) {
    const payload = holder.item;
    if (typeof payload === "string" || payload.at === undefined) {
      continue;
    }
    if (payload.ref !== ref) {
      ref = payload.ref;
      const batch = await read(ref);
      texts = batch.texts;
      await remove(batch);
    }
    holder.item = texts[payload.at];
  }
}
