// Package wire is the protocol as bytes: strict decoding of what clients send, message bodies, frames of
// several objects, and the encoding of replies and events. Server, Go client and tests share it; it does no I/O.
//
// The format is PROTOCOL.md §3 and §5.
package wire

// Subprotocol is what client and server agree on in the upgrade.
const Subprotocol = "hearth.v1"

// TokenProtocolPrefix carries a browser's token in the list of subprotocols.
const TokenProtocolPrefix = "hearth.token."

// MaxObjects is how many objects a client's frame may hold.
const MaxObjects = 100
