/**
 * Texts of any length: short ones stay where they are used, longer ones get a document of their own that is
 * written once, so that the documents rewritten at each turn stay small.
 */

/** A text up to this many characters is kept inline. */
const InlineTextChars = 1024;

/**
 * Stores a text; the answer says where it is.
 *
 * @param {Head} head
 * @param {string} text
 * @param {number} now
 * @returns {Promise<Text>}
 */
async function storeText(head, text, now) {
  if (text.length <= InlineTextChars) {
    return { text: text };
  }
  head.lastStamp = nextStamp(head.lastStamp, 0, now);
  const id = "t:" + head.lastStamp;
  await create({ id: id, instanceId: head.instanceId, type: "text", stamp: head.lastStamp, text: text });
  return { ref: id };
}

/**
 * Lets go of a text that is no longer referred to.
 *
 * @param {Text | undefined} text
 */
async function dropText(text) {
  if (text && text.ref !== undefined) {
    await removeById(text.ref);
  }
}
