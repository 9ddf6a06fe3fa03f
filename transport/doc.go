// Package transport is hearth's outside: the WebSocket (upgrade, connections, dispatch of ops, feeds), health,
// and the routes that tie them to the HTTP API of transport/httpapi.
//
// The path of a frame: conn.go (in) → dispatch.go (op → use case in domain) → queue.go (reply out). The path of a
// message to others: redisrepo's subscriber → feed.go (order, gaps) → queue.go (frame out).
package transport
