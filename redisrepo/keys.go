package redisrepo

import (
	"strconv"
	"strings"
)

// Every key of a partition carries the hash tag {p}, so that a script's keys lie in one slot. Keys that hold
// messages, or what is counted by them, carry the generation: two histories never mix. README.md has the table.

func partitionKey(p int, rest string) string {
	return "hearth:{" + strconv.Itoa(p) + "}:" + rest
}

func genKey(p int) string      { return partitionKey(p, "gen") }
func speakersKey(p int) string { return partitionKey(p, "speakers") }
func heatKey(p int) string     { return partitionKey(p, "heat") }

// messagesKey and trafficKey are what speakers and heat are, of messages; there only where messages count in the ranking.
func messagesKey(p int) string { return partitionKey(p, "messages") }
func trafficKey(p int) string  { return partitionKey(p, "traffic") }

func leaseKey(p int) string    { return partitionKey(p, "lease") }
func expiringKey(p int) string { return partitionKey(p, "expiring") }

// dismissedKey names the groups whose keys are to be deleted.
func dismissedKey(p int) string { return partitionKey(p, "dismissed") }

func genPart(p int, name string, gen int64) string {
	return partitionKey(p, name+":"+strconv.FormatInt(gen, 10))
}

func seqKey(p int, gen int64) string       { return genPart(p, "seq", gen) }
func logKey(p int, gen int64) string       { return genPart(p, "log", gen) }
func persistedKey(p int, gen int64) string { return genPart(p, "persisted", gen) }
func holesKey(p int, gen int64) string     { return genPart(p, "holes", gen) }
func floorKey(p int, gen int64) string     { return genPart(p, "floor", gen) }
func dirtyKey(p int, gen int64) string     { return genPart(p, "dirty", gen) }
func directKey(p int, gen int64) string    { return genPart(p, "direct", gen) }

// recallingKey names the recalls that MySQL does not have yet.
func recallingKey(p int, gen int64) string { return genPart(p, "recalling", gen) }

func lateKey(p int, gen, ms int64) string {
	return genPart(p, "late", gen) + ":" + strconv.FormatInt(ms, 10)
}

func recentKey(p int, gen int64, group string) string { return genPart(p, "recent", gen) + ":" + group }

// recalledKey has the recalls of recent messages, and of others until MySQL has them.
func recalledKey(p int, gen int64, group string) string {
	return genPart(p, "recalled", gen) + ":" + group
}

// mentionsKey has who is mentioned in messages that MySQL may not have.
func mentionsKey(p int, gen int64, group string) string {
	return genPart(p, "mentions", gen) + ":" + group
}

func readKey(p int, gen int64, group string) string { return genPart(p, "read", gen) + ":" + group }

func dedupeKey(p int, gen int64, id string) string { return genPart(p, "dedupe", gen) + ":" + id }

func groupKey(p int, group string) string     { return partitionKey(p, "group:"+group) }
func userRateKey(p int, user string) string   { return partitionKey(p, "rate:u:"+user) }
func groupRateKey(p int, group string) string { return partitionKey(p, "rate:g:"+group) }

func mineKey(p int, user string) string { return partitionKey(p, "mine:"+user) }

func onlineKey(p int, group string) string { return partitionKey(p, "online:"+group) }

// A user's keys lie in his partition, as if he were a group.

func connsKey(p int, user string) string { return partitionKey(p, "conns:"+user) }
func notesKey(p int, user string) string { return partitionKey(p, "notes:"+user) }

// atKey names the users that have connections to an instance.
func atKey(p int, instance string) string { return partitionKey(p, "at:"+instance) }

func instanceKey(id string) string { return "hearth:instance:" + id }
func instancesKey() string         { return "hearth:instances" }

// statusKey has what an instance says of itself, statusesKey the instances that do.
func statusKey(id string) string { return "hearth:status:" + id }
func statusesKey() string        { return "hearth:statuses" }

// revokedKey is there for a session of the console that was logged out.
func revokedKey(session string) string { return "hearth:console:revoked:" + session }

func roomKey() string { return "hearth:room" }

func hotKey(typ string) string             { return "hearth:hot:" + typ }
func hotSnapshotKey(typ, id string) string { return "hearth:hot:" + typ + ":" + id }

func groupChannelPrefix(p int) string     { return partitionKey(p, "g:") }
func groupChannel(p int, g string) string { return groupChannelPrefix(p) + g }
func persistedChannel(p int) string       { return partitionKey(p, "persisted") }

func userChannel(p int, user string) string { return partitionKey(p, "u:"+user) }

// canaryChannel is where an instance hears itself.
func canaryChannel(instance string) string { return "hearth:canary:" + instance }

// keysOf is the pattern of all keys of a kind, such as "recent", in all partitions.
func keysOf(kind string) string { return "hearth:{*}:" + kind + ":*" }

// splitKey takes a key of a kind apart: its partition and what stands behind the kind.
func splitKey(key, kind string) (partition int, rest string, ok bool) {
	tag, rest, ok := strings.Cut(strings.TrimPrefix(key, "hearth:{"), "}:"+kind+":")
	partition, err := strconv.Atoi(tag)
	return partition, rest, ok && err == nil
}

// channelGroup is the group whose channel this is.
func channelGroup(channel string) (string, bool) {
	_, group, ok := strings.Cut(channel, "}:g:")
	return group, ok
}

// channelUser is the user whose channel this is.
func channelUser(channel string) (string, bool) {
	_, user, ok := strings.Cut(channel, "}:u:")
	return user, ok
}
