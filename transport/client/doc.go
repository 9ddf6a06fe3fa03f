// Package client is the Go client of hearth: a connection that comes back by itself, every message of the followed
// groups once and in order, and sends that are repeated until they are answered.
//
// Three goroutines make a connected client. The one that called Run dials and reads; a second writes; a third, the
// follower, keeps the cursors and calls the hooks. README.md has an example and the guarantees.
package client
