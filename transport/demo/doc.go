// Package demo is the page at /demo: the board of hot rooms, a room, and the raw frames between the page and the
// server. It uses the public API only; what it adds on the server is its files, its configuration, and tokens for
// whatever name a visitor picks – which is why it belongs on a developer's machine.
package demo
