// Package domain holds what hearth is about – groups, messages, seqs, pages, heat – and the rules that
// every door (WebSocket, HTTP) and every store (Redis, MySQL) obeys. It imports the standard library only;
// the stores it needs are small interfaces declared beside the rule that uses them.
//
// # Words
//
//   - group: a conversation. Its type is room (open to everybody), group (members only) or direct (two people).
//   - seq: the number of a message within its group, ≥ 1 and < 2^53. Strictly increasing, never given twice.
//   - head: the numbers of a group as one user sees them: max_seq, persisted_seq, read_seq, unread.
//   - hole: a range of seqs that has no messages and never will, with the reason.
//   - recall: taking a message back. What is left of it is a tombstone: it keeps its seq and loses its content.
//   - retention: the age at which messages expire, that is, are deleted and become a hole.
//   - page: an ascending run of messages with the holes between them.
//   - partition: the slot tag of a group's Redis keys; one append script touches one partition.
//   - generation (gen): the number of a partition's history in one Redis server; raised when that history may
//     have been lost. Every Redis key that holds messages carries it.
//   - seed: the seq at which a group starts in a new generation.
//   - watermark (persisted): all messages of a generation up to this seq are committed in MySQL.
//   - write-behind log: accepted messages that MySQL has not got yet.
//   - idempotency key: client_id, or an internal id for sends without one.
//   - feed: what one instance hands to its connections of one group, in seq order.
//   - session: a connection as all instances know it; presence is whether a user has one.
//   - note: what a user's connections must not miss (he joined, left, is to be closed), kept until they have read it.
//   - notice: an event without a seq on its way to the connections of an instance; a signal is one that a user sends.
//   - resync: telling a slow consumer, or one in doubt, to subscribe to a group again.
//   - canary: what an instance publishes to itself to know that pub/sub works.
//   - outbox: what a transaction in MySQL left to be done elsewhere: changes that Redis has to get, events that webhooks are told.
//   - drain: the way out of an instance, with every client sent elsewhere.
//   - heat: the number of distinct users who spoke in a group during the last five minutes.
package domain
