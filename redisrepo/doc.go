// Package redisrepo keeps hearth's numbers in Redis: seqs, recent messages, the write-behind log, memberships,
// read marks, heat, and the pub/sub channels of fan-out. Each script is a .lua file beside the Go half that
// calls it; every key is built in keys.go.
package redisrepo
