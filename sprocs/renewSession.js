/**
 * renewSession: heartbeat of a session: extends it while it is not idle, or marks activity in it.
 *
 * Argument: { owners, extendMs, idleMs } extends, for a session of one of the owners
 *           { touch: true } marks activity, whoever holds the session
 * Result:   { status: "renewed" | "touched" | "notHeld" }
 *           "notHeld"  expired, idle or somebody else's; nothing written
 * Reads:    session
 * Writes:   session
 * Uses:     store
 *
 * @param {{owners?: string[], extendMs?: number, idleMs?: number, touch?: boolean}} argument
 */
async function renewSession(argument) {
  const now = Date.now();
  /** @type {Session | null} */
  const session = await read("session");
  if (!session || session.sessionUntil <= now) {
    return { status: "notHeld" };
  }
  if (argument.touch) {
    session.lastActivityAt = now;
    await save(session);
    return { status: "touched" };
  }
  const owners = argument.owners || [];
  const idleSince = now - (argument.idleMs || 0);
  if (owners.indexOf(session.owner) < 0 || session.lastActivityAt <= idleSince) {
    return { status: "notHeld" };
  }
  session.sessionUntil = Math.max(session.sessionUntil, now + (argument.extendMs || 0));
  await save(session);
  return { status: "renewed" };
}
