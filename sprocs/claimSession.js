/**
 * claimSession: makes an owner the holder of a session, if it is free or already the owner's.
 *
 * Argument: { instanceId, session, owner, lockMs }
 * Result:   { status: "claimed", now, until, etag? } | { status: "taken", now, until, owner }
 *           "claimed"  the owner holds it until `until`; `etag` is that of the session if the owner did not hold it before
 *           "taken"    another owner holds it until `until`; nothing written
 * Reads:    session
 * Writes:   session
 * Uses:     store
 *
 * @param {{instanceId: string, session: string, owner: string, lockMs: number}} argument
 */
async function claimSession(argument) {
  const now = Date.now();
  /** @type {Session | null} */
  const held = await read("session");
  if (held && held.owner !== argument.owner && held.sessionUntil > now) {
    return { status: "taken", now: now, until: held.sessionUntil, owner: held.owner };
  }
  const isNew = !held || held.owner !== argument.owner || held.sessionUntil <= now;
  const session = held || {
    id: "session",
    instanceId: argument.instanceId,
    type: "session",
    session: argument.session,
    owner: argument.owner,
    sessionUntil: 0,
    lastActivityAt: now
  };
  session.sessionUntil =
    session.owner === argument.owner
      ? Math.max(session.sessionUntil, now + argument.lockMs)
      : now + argument.lockMs;
  session.owner = argument.owner;
  session.lastActivityAt = now;
  const saved = await save(session);
  return { status: "claimed", now: now, until: session.sessionUntil, etag: isNew ? saved._etag : undefined };
}
