package redisrepo

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"hearth/domain"
	"hearth/domain/testserver"
)

// useAll calls everything that touches Redis, for groups of all partitions.
func useAll(t *testing.T, e *env) {
	t.Helper()
	ctx := t.Context()
	e.store.cfg.CountMessages = true
	r := e.recovery()
	var groups []string
	for p := range testPartitions {
		for _, g := range append(groupsIn(p, 1), directIn(p)) {
			s := group(g, domain.Private, "u", "v", "owner:owner")
			if lower, higher, ok := domain.SplitDirect(g); ok {
				s = group(g, domain.Direct, lower, higher, "v")
			}
			r.groups[g], groups = s, append(groups, g)
			r.seeds[g] = domain.Seed{Start: 1, Holes: domain.Holes{{From: 1, To: 1, Reason: domain.HoleLost}}}
		}
	}
	heard := e.subscribe(t, e.store, groups...)
	s := e.sender(t, r, AppendConfig{
		UserRate: 1000, UserBurst: 1000, GroupRate: 1000, BacklogBytes: 1 << 20, MessageBytes: 1 << 20, // a log is measured from its first entry on
	})
	for turn := range 3 {
		var answers []<-chan result
		for _, g := range groups {
			answers = append(answers, s.post(domain.Draft{Group: g, From: "u", ClientID: fmt.Sprint("c", turn/2), Mentions: []string{"v"}}))
		}
		require.Equal(t, []int64{2, 2, 3}[turn], seqs(t, answers)[0], "sent, sent again, sent")
	}
	until(t, "pushes", func() bool { return len(heard.pushed()) == 2*len(groups) })

	heads, err := e.store.Heads(ctx, "u", groups)
	require.NoError(t, err)
	var ranges []domain.Range
	for _, h := range heads {
		require.True(t, h.GroupLoaded && h.Seeded && h.ReadLoaded)
		require.Equal(t, []int64{3, 3}, []int64{h.MaxSeq, h.ReadSeq})
		ranges = append(ranges, domain.Range{Group: h.Group, From: 1, To: 5, Limit: 5, Last: len(ranges)%2 == 0})
	}
	recent, err := e.store.Recent(ctx, ranges)
	require.NoError(t, err)
	for i := range recent {
		require.Len(t, recent[i], 2)
	}
	scores, _, err := e.scores(t)
	require.NoError(t, err)
	require.Len(t, scores, testPartitions, "direct conversations are not ranked")
	auditAll(t, e, groups, scores)
	useHeat(t, e, groups)
	require.True(t, e.turn(t, "room", "me").Mine)
	e.save(t, snapshot("s", 3), time.Minute, time.Minute)
	_, total, ok, err := e.store.SnapshotPage(ctx, "room", e.turn(t, "room", "me").ID, 0, 2, time.Minute)
	require.NoError(t, err)
	require.True(t, ok && total == 3)

	for _, g := range groups {
		want := domain.Code("")
		if _, ok := domain.Peer(g, "u"); ok {
			want = domain.CodeStrangerLimit
		}
		outcome, err := e.store.Signal(ctx, domain.Signal{Group: g, From: "u", Kind: "typing"})
		require.Equal(t, want, domain.CodeOf(err))
		require.Empty(t, outcome.Missing)
		above, err := e.store.ReadMarksAbove(ctx, g, 3)
		require.NoError(t, err)
		require.Equal(t, map[string]int64{"u": 3}, above)
		mentions, err := e.store.Mentions(ctx, "v", []string{g})
		require.NoError(t, err)
		require.Equal(t, []int64{3, 2}, mentions[0].Seqs)
		recalled, err := e.store.Recall(ctx, domain.RecallOrder{Group: g, Seq: 3, Actor: domain.Actor{User: "u"}})
		require.NoError(t, err)
		require.Empty(t, recalled.Missing)
	}

	counts := make(map[string]int)
	for i, g := range groups {
		counts[g] = i + 1
	}
	e.announce(t, "i", counts)
	require.Equal(t, counts, e.online(t, groups...))
	useSessions(t, e)

	marks := make(map[domain.GroupUser]int64)
	for _, g := range groups {
		marks[domain.GroupUser{Group: g, User: "w"}] = 1
		mark, err := e.store.MarkRead(ctx, g, "v", 2, 0, nil)
		require.NoError(t, err)
		require.Equal(t, int64(2), mark)
		c := &domain.GroupChange{Group: r.groups[g].Group, Raised: true, Removed: []string{"v"}, Joined: []string{"x"}, Put: []domain.Membership{{User: "x", Role: domain.Member}}}
		c.Version = 2
		require.NoError(t, e.store.Changed(ctx, c))
	}
	require.NoError(t, e.store.FillReads(ctx, marks))
	sends := make(map[string][]domain.RecentSend)
	for _, g := range groups {
		sends[g] = []domain.RecentSend{{Dedupe: "late" + g, Seq: 1, TimeMS: time.Now().UnixMilli(), Hash: "00"}}
	}
	require.NoError(t, e.store.RememberSends(ctx, sends))
	require.NoError(t, e.store.RememberGroups(ctx, "newcomer", groups, "0-0"))
	mine, _, known, err := e.store.OwnGroups(ctx, "newcomer")
	require.NoError(t, err)
	require.True(t, known)
	require.ElementsMatch(t, groups, mine)
	var logs []domain.LogRange
	for p := range testPartitions {
		logs = append(logs, domain.LogRange{Partition: p, Gen: 1})
		ok, err := e.store.Lease(ctx, p, "i", time.Minute)
		require.NoError(t, err)
		require.True(t, ok)
		require.NoError(t, e.store.Unlease(ctx, p, "i"))
	}
	entries, err := e.store.ReadLogs(ctx, logs, 100)
	require.NoError(t, err)
	for i, log := range logs {
		require.Len(t, entries[i], 6)
		group := entries[i][0].Group
		watermarks, written, err := e.store.Reached(ctx, log, []string{group}, []domain.GroupUser{{Group: group, User: "v"}})
		require.NoError(t, err)
		require.Equal(t, map[string]int64{group: 1}, watermarks)
		require.Empty(t, written, "the mark waits")
		require.NoError(t, e.store.Committed(ctx, []domain.LogBatch{{LogRange: log, Entries: entries[i], Dead: entries[i][:1]}}))
		dirty, err := e.store.DirtyMarks(ctx, log)
		require.NoError(t, err)
		require.Len(t, dirty, 2)
		require.NoError(t, e.store.MarksWritten(ctx, log, dirty))
	}
	until(t, "watermarks", func() bool { return len(heard.marks()) == len(groups)+testPartitions })
	backlog, err := e.store.Backlog(ctx, logs)
	require.NoError(t, err)
	require.Zero(t, backlog)
	expiring, err := e.store.Expiring(ctx, groups)
	require.NoError(t, err)
	require.Len(t, expiring, len(groups))
	for _, e := range expiring {
		require.EqualValues(t, 3, e.UpTo, e.Group)
	}
	require.NoError(t, e.store.PostStatus(ctx, "i1", domain.InstanceStatus{Name: "i"}))
	told, err := e.store.FleetSince(ctx, 1)
	require.NoError(t, err)
	require.Len(t, told, 1)
	_, err = e.store.Fleet(ctx)
	require.NoError(t, err)
	_, err = e.store.OldestLogged(ctx, logs)
	require.NoError(t, err)
	for _, g := range groups {
		inspected, err := e.store.InspectGroup(ctx, g)
		require.NoError(t, err)
		require.True(t, inspected.Seeded)
		_, times, known, err := e.store.Unpersisted(ctx, g, 0, 10)
		require.NoError(t, err)
		require.True(t, known)
		require.Empty(t, times)
	}
	now, err := e.store.NowMS(ctx)
	require.NoError(t, err)
	for _, g := range groups {
		require.NoError(t, e.store.SetHoles(ctx, g, domain.Holes{{From: 1, To: 2, Reason: domain.HoleExpired}}))
	}
	expired, err := e.store.Expired(ctx, now)
	require.NoError(t, err)
	require.ElementsMatch(t, groups, expired)
	require.NoError(t, e.store.ForgetExpired(ctx, now))
	for _, g := range groups {
		_, err := e.store.ForgetGroup(ctx, g)
		require.NoError(t, err)
	}
	for p := range testPartitions {
		_, err := e.store.Dismissed(ctx, p)
		require.NoError(t, err)
	}
	e.raise(t, 2)
	for p := range testPartitions {
		older, err := e.store.OlderGenerations(ctx, p, 2)
		require.NoError(t, err)
		require.Equal(t, []int64{1}, older)
		require.NoError(t, e.store.ForgetGeneration(ctx, p, 1))
	}
	require.NoError(t, e.store.Ping(ctx))
	require.NoError(t, e.store.CheckPolicy(ctx))
}

// useHeat brings heat back that is there.
func useHeat(t *testing.T, e *env, groups []string) {
	t.Helper()
	var partitions []int
	var gens []domain.LogRange
	for p := range testPartitions {
		partitions, gens = append(partitions, p), append(gens, domain.LogRange{Partition: p, Gen: 1})
	}
	missing, err := e.store.WithoutHeat(t.Context(), gens)
	require.NoError(t, err)
	require.Equal(t, gens, missing)
	for _, g := range groups {
		if _, _, direct := domain.SplitDirect(g); !direct {
			speaker := domain.Speaker{Group: g, User: "u", TimeMS: time.Now().UnixMilli()}
			require.NoError(t, e.store.AddHeat(t.Context(), e.log(g), []domain.Speaker{speaker}))
			message := domain.MessageTime{Group: g, Seq: 3, TimeMS: time.Now().UnixMilli()}
			require.NoError(t, e.store.AddMessages(t.Context(), e.log(g), []domain.MessageTime{message}, true))
		}
	}
	missing, err = e.store.WithoutHeat(t.Context(), gens)
	require.NoError(t, err)
	require.Empty(t, missing)
	whole, err := e.store.WholeHeat(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, whole)
	speakers, err := e.store.Speakers(t.Context(), groups)
	require.NoError(t, err)
	require.NotEmpty(t, speakers)
	messages, err := e.store.Traffic(t.Context(), groups)
	require.NoError(t, err)
	require.Equal(t, 2, messages[groups[0]])
	n, err := e.store.ExpireHeat(t.Context(), partitions)
	require.NoError(t, err)
	require.Equal(t, int64(testPartitions), n)
}

// On two masters a key in the wrong slot, or the word of the wrong server, is an error.
func TestEverythingWorksOnACluster(t *testing.T) {
	t.Parallel()
	e := newCluster(t)
	store := e.store
	identities := make(map[string]bool)
	for p := range testPartitions {
		for range 3 {
			o, err := store.Observe(t.Context(), p)
			require.NoError(t, err)
			require.Equal(t, o.Server, o.Identity, "partition %d is asked of its own server", p)
			identities[o.Identity] = true
		}
	}
	require.Len(t, identities, 2, "the partitions lie on both")
	all, err := store.ObserveAll(t.Context())
	require.NoError(t, err)
	for p := range testPartitions {
		o, err := store.Observe(t.Context(), p)
		require.NoError(t, err)
		require.Equal(t, o, all[p])
	}
	useAll(t, e)
}

// newCluster is an env of two masters.
func newCluster(t *testing.T) *env {
	t.Helper()
	var addrs, buses []string
	for range 2 {
		bus := freePort(t)
		addrs = append(addrs, testserver.StartRedis(t, "--cluster-enabled", "yes", "--cluster-port", bus).Addr())
		buses = append(buses, bus)
	}
	join(t, addrs, buses)
	e := &env{cfg: Config{Addrs: addrs, Mode: "cluster", Partitions: testPartitions, HeatWindow: 5 * time.Minute}}
	store, err := Open(e.cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	store.UseGenerations(generationsOf{e})
	e.store = store
	e.raise(t, 1)
	return e
}

// freePort keeps below the range of outgoing connections; without it the cluster bus is 10,000 above the server's.
func freePort(t *testing.T) string {
	t.Helper()
	for {
		port := strconv.Itoa(10_000 + rand.IntN(22_000))
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port)); err == nil {
			require.NoError(t, l.Close())
			return port
		}
	}
}

// join makes a cluster of masters.
func join(t *testing.T, addrs, buses []string) {
	t.Helper()
	ctx := t.Context()
	const slots = 16384
	var nodes []*redis.Client
	for i, addr := range addrs {
		c := redis.NewClient(&redis.Options{Addr: addr})
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		require.NoError(t, c.ClusterAddSlotsRange(ctx, i*slots/len(addrs), (i+1)*slots/len(addrs)-1).Err())
		require.NoError(t, c.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err())
		nodes = append(nodes, c)
	}
	for i := 1; i < len(addrs); i++ {
		host, port, err := net.SplitHostPort(addrs[i])
		require.NoError(t, err)
		require.NoError(t, nodes[0].Do(ctx, "CLUSTER", "MEET", host, port, buses[i]).Err())
	}
	for _, c := range nodes {
		until(t, "cluster", func() bool {
			info := c.ClusterInfo(ctx).Val()
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprint("cluster_slots_ok:", slots))
		})
	}
}

// Redis itself tells what the scripts touch: each key is among the call's KEYS, which all lie in one slot.
func TestScriptsTouchDeclaredKeysOfOneSlotOnly(t *testing.T) {
	t.Parallel()
	e := newReal(t)
	monitor, err := net.Dial("tcp", e.addr)
	require.NoError(t, err)
	defer monitor.Close()
	require.NoError(t, monitor.SetDeadline(time.Now().Add(patience)))
	_, err = monitor.Write([]byte("MONITOR\r\n"))
	require.NoError(t, err)
	lines := bufio.NewReaderSize(monitor, 1<<20)
	ok, err := lines.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "+OK\r\n", ok)

	seen := make(chan []string, 1)
	go func() {
		var commands []string
		for {
			line, err := lines.ReadString('\n')
			if err != nil || strings.Contains(line, "end of the test") {
				seen <- commands
				return
			}
			commands = append(commands, line)
		}
	}()
	for _, s := range scripts(t) { // known, so that each call is one EVALSHA
		require.NoError(t, s.Load(t.Context(), e.store.rdb).Err())
	}
	useAll(t, e)
	require.NoError(t, e.store.rdb.Echo(t.Context(), "end of the test").Err())

	var keys []string
	var script string
	calls := make(map[string]int)
	for _, line := range <-seen {
		words := monitored(t, line)
		command := strings.ToLower(words[0])
		if !strings.Contains(line, " lua] ") {
			if command == "evalsha" {
				n, err := strconv.Atoi(words[2])
				require.NoError(t, err)
				script, keys = words[1], words[3:3+n]
				calls[script]++
				tag := hashTag(keys[0])
				for _, key := range keys {
					require.Equal(t, tag, hashTag(key), key)
				}
			}
			continue
		}
		for _, key := range touched(command, words[1:]) {
			require.Contains(t, keys, key, "script %s: %s", script, line)
		}
	}
	for _, s := range scripts(t) {
		require.Positive(t, calls[s.Hash()], "script %s was not called", s.Hash())
	}
}

// scripts are all there are.
func scripts(t *testing.T) []*redis.Script {
	t.Helper()
	list := []*redis.Script{
		appendScript, signalScript, recallScript, mentionedScript, generationScript, forgetScript, seedScript, reachedScript, holesScript, expiringScript,
		fillScript, changeScript, readScript, markedScript, commitScript, expireScript, heatScript, spokeScript, rankedScript, turnScript, publishScript, pageScript, mineScript,
		enterScript, leaveScript, sweepScript, noteScript, dismissedScript,
	}
	sources, err := filepath.Glob("*.lua")
	require.NoError(t, err)
	require.Len(t, list, len(sources)-1, "standing.lua is a part of others")
	return list
}

var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// monitored takes a line of MONITOR apart: +<time> [<db> <client>] "<command>" "<argument>" …
func monitored(t *testing.T, line string) (words []string) {
	t.Helper()
	for _, q := range quoted.FindAllString(line, -1) {
		word, err := strconv.Unquote(q)
		require.NoError(t, err, line)
		words = append(words, word)
	}
	return words
}

func touched(command string, args []string) []string {
	switch command {
	case "info", "time", "publish":
		return nil
	case "del":
		return args
	case "memory": // USAGE key
		return args[1:2]
	}
	return args[:1]
}

func hashTag(key string) string {
	_, rest, _ := strings.Cut(key, "{")
	tag, _, ok := strings.Cut(rest, "}")
	if !ok {
		return "no tag in " + key
	}
	return tag
}

func TestKeysAreBuiltInOneFile(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	lua, err := fs.Glob(os.DirFS("."), "*.lua")
	require.NoError(t, err)
	for _, file := range append(files, lua...) {
		if file == "keys.go" || strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NotContains(t, string(source), "hearth:", file)
	}
}

// Different things have different keys, whatever they are called.
func TestKeysDoNotCollide(t *testing.T) {
	t.Parallel()
	names := []string{"a", "a:b", "1", "1:a", "dm:a:b", "log", "log:1"}
	var keys []string
	for _, p := range []int{1, 11} {
		keys = append(keys, genKey(p), speakersKey(p), heatKey(p), messagesKey(p), trafficKey(p), leaseKey(p), expiringKey(p), dismissedKey(p), groupChannelPrefix(p), persistedChannel(p))
		for _, gen := range []int64{1, 11} {
			keys = append(keys, seqKey(p, gen), logKey(p, gen), persistedKey(p, gen), holesKey(p, gen), dirtyKey(p, gen), directKey(p, gen), recallingKey(p, gen))
			for _, name := range names {
				keys = append(keys, recentKey(p, gen, name), readKey(p, gen, name), dedupeKey(p, gen, name), recalledKey(p, gen, name), mentionsKey(p, gen, name))
			}
		}
		for _, name := range names {
			keys = append(keys, groupKey(p, name), userRateKey(p, name), groupRateKey(p, name), groupChannel(p, name), onlineKey(p, name))
			keys = append(keys, connsKey(p, name), notesKey(p, name), atKey(p, name), userChannel(p, name))
			got, ok := channelGroup(groupChannel(p, name))
			require.True(t, ok)
			require.Equal(t, name, got)
		}
		_, ok := channelGroup(persistedChannel(p))
		require.False(t, ok)
	}
	slices.Sort(keys)
	require.Len(t, slices.Compact(slices.Clone(keys)), len(keys))
}

func TestStoreIsOpenedAsConfigured(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg Config
		ok  bool
	}{
		"standalone":               {Config{Addrs: []string{"localhost:1"}}, true},
		"standalone, said":         {Config{Addrs: []string{"localhost:1"}, Mode: "standalone"}, true},
		"standalone of two":        {Config{Addrs: []string{"localhost:1", "localhost:2"}}, false},
		"standalone without":       {Config{}, false},
		"sentinel":                 {Config{Addrs: []string{"localhost:1", "localhost:2"}, Mode: "sentinel", SentinelMaster: "m"}, true},
		"cluster with one address": {Config{Addrs: []string{"localhost:1"}, Mode: "cluster"}, true},
		"unknown":                  {Config{Addrs: []string{"localhost:1"}, Mode: "Cluster"}, false},
	} {
		store, err := Open(c.cfg)
		require.Equal(t, c.ok, err == nil, "%s: %v", name, err)
		if err == nil {
			_, isCluster := store.rdb.(*redis.ClusterClient)
			require.Equal(t, c.cfg.Mode == "cluster", isCluster, name)
			p, gen := store.gens(0), store.gens(7)
			require.Zero(t, p+gen, "no generation is known before UseGenerations")
			require.NoError(t, store.Close())
		}
	}
}

func TestEvictingRedisIsRefused(t *testing.T) {
	t.Parallel()
	e := newReal(t)
	require.NoError(t, e.store.CheckPolicy(t.Context()))
	e.configSet(t, "maxmemory-policy", "allkeys-lru")
	require.ErrorContains(t, e.store.CheckPolicy(t.Context()), "allkeys-lru")
	require.NoError(t, newMini(t).store.CheckPolicy(t.Context()), "a server that does not tell is believed")
}

// Where Redis cannot answer, every method says so instead of answering with nothing.
func TestMethodsFailWithoutRedis(t *testing.T) {
	t.Parallel()
	e := newMini(t)
	e.mini.SetError("ERR broken") // LOADING would be tried again
	log := domain.LogRange{Partition: 1, Gen: 1}
	s := e.store
	for name, call := range map[string]func(ctx context.Context) error{
		"Observe":          func(ctx context.Context) error { _, err := s.Observe(ctx, 1); return err },
		"SetGeneration":    func(ctx context.Context) error { _, err := s.SetGeneration(ctx, 1, 2, "x"); return err },
		"OlderGenerations": func(ctx context.Context) error { _, err := s.OlderGenerations(ctx, 1, 2); return err },
		"ForgetGeneration": func(ctx context.Context) error { return s.ForgetGeneration(ctx, 1, 1) },
		"Heads":            func(ctx context.Context) error { _, err := s.Heads(ctx, "u", []string{"a"}); return err },
		"FillGroup":        func(ctx context.Context) error { return s.FillGroup(ctx, group("a", domain.Room)) },
		"FillReads": func(ctx context.Context) error {
			return s.FillReads(ctx, map[domain.GroupUser]int64{{Group: "a", User: "u"}: 1})
		},
		"Changed":  func(ctx context.Context) error { return s.Changed(ctx, &domain.GroupChange{}) },
		"MarkRead": func(ctx context.Context) error { _, err := s.MarkRead(ctx, "a", "u", 1, 0, nil); return err },
		"SetSeeds": func(ctx context.Context) error { return s.SetSeeds(ctx, 1, 1, nil) },
		"Recent": func(ctx context.Context) error {
			_, err := s.Recent(ctx, []domain.Range{{Group: "a", To: 1, Limit: 1}})
			return err
		},
		"Recall": func(ctx context.Context) error {
			_, err := s.Recall(ctx, domain.RecallOrder{Group: "a", Seq: 1, Actor: domain.Actor{User: "u"}})
			return err
		},
		"Recalled": func(ctx context.Context) error { _, err := s.Recalled(ctx, []string{"a"}); return err },
		"RecallsWritten": func(ctx context.Context) error {
			_, err := s.RecallsWritten(ctx, log, []domain.Recall{{Group: "a", Seq: 1}})
			return err
		},
		"Signal":         func(ctx context.Context) error { _, err := s.Signal(ctx, domain.Signal{Group: "a"}); return err },
		"ReadMarksAbove": func(ctx context.Context) error { _, err := s.ReadMarksAbove(ctx, "a", 1); return err },
		"Heat":           func(ctx context.Context) error { _, _, err := s.Heat(ctx); return err },
		"ExpireHeat":     func(ctx context.Context) error { _, err := s.ExpireHeat(ctx, []int{1}); return err },
		"WithoutHeat":    func(ctx context.Context) error { _, err := s.WithoutHeat(ctx, []domain.LogRange{log}); return err },
		"WholeHeat":      func(ctx context.Context) error { _, err := s.WholeHeat(ctx); return err },
		"AddHeat":        func(ctx context.Context) error { return s.AddHeat(ctx, log, nil) },
		"AddMessages":    func(ctx context.Context) error { return s.AddMessages(ctx, log, nil, true) },
		"Traffic":        func(ctx context.Context) error { _, err := s.Traffic(ctx, []string{"a"}); return err },
		"SnapshotTurn":   func(ctx context.Context) error { _, err := s.SnapshotTurn(ctx, "room", "me", time.Second); return err },
		"SaveSnapshot": func(ctx context.Context) error {
			_, err := s.SaveSnapshot(ctx, "room", "me", snapshot("s", 1), time.Second, time.Second)
			return err
		},
		"NoSnapshot": func(ctx context.Context) error { return s.NoSnapshot(ctx, "room", "me") },
		"SnapshotPage": func(ctx context.Context) error {
			_, _, _, err := s.SnapshotPage(ctx, "room", "s", 0, 1, time.Second)
			return err
		},
		"ReadLogs":     func(ctx context.Context) error { _, err := s.ReadLogs(ctx, []domain.LogRange{log}, 1); return err },
		"Committed":    func(ctx context.Context) error { return s.Committed(ctx, []domain.LogBatch{{LogRange: log}}) },
		"Backlog":      func(ctx context.Context) error { _, err := s.Backlog(ctx, []domain.LogRange{log}); return err },
		"DirtyMarks":   func(ctx context.Context) error { _, err := s.DirtyMarks(ctx, log); return err },
		"OldestLogged": func(ctx context.Context) error { _, err := s.OldestLogged(ctx, []domain.LogRange{log}); return err },
		"PostStatus":   func(ctx context.Context) error { return s.PostStatus(ctx, "i", domain.InstanceStatus{}) },
		"Fleet":        func(ctx context.Context) error { _, err := s.Fleet(ctx); return err },
		"InspectGroup": func(ctx context.Context) error { _, err := s.InspectGroup(ctx, "a"); return err },
		"Unpersisted":  func(ctx context.Context) error { _, _, _, err := s.Unpersisted(ctx, "a", 0, 1); return err },
		"FleetSince":   func(ctx context.Context) error { _, err := s.FleetSince(ctx, 1); return err },
		"AuditGroups": func(ctx context.Context) error {
			_, err := s.AuditGroups(ctx, e.allGens(), []string{"a"})
			return err
		},
		"AuditSeqs":    func(ctx context.Context) error { _, err := s.AuditSeqs(ctx, e.allGens(), []string{"a"}); return err },
		"AuditHeat":    func(ctx context.Context) error { _, err := s.AuditHeat(ctx, 1); return err },
		"SetAsideLogs": func(ctx context.Context) error { _, err := s.SetAsideLogs(ctx); return err },
		"Living":       func(ctx context.Context) error { _, err := s.Living(ctx); return err },
		"Remaining":    func(ctx context.Context) error { _, err := s.Remaining(ctx); return err },
		"RemainsOf":    func(ctx context.Context) error { _, err := s.RemainsOf(ctx, "a", []int64{1}); return err },
		"Logs":         func(ctx context.Context) error { _, err := s.Logs(ctx); return err },
		"ForgetGroups": func(ctx context.Context) error { return s.ForgetGroups(ctx) },
		"MarksWritten": func(ctx context.Context) error { return s.MarksWritten(ctx, log, nil) },
		"Reached":      func(ctx context.Context) error { _, _, err := s.Reached(ctx, log, []string{"a"}, nil); return err },
		"RememberSends": func(ctx context.Context) error {
			return s.RememberSends(ctx, map[string][]domain.RecentSend{"a": {{Dedupe: "d", TimeMS: time.Now().UnixMilli()}}})
		},
		"Lease":      func(ctx context.Context) error { _, err := s.Lease(ctx, 1, "i", time.Second); return err },
		"Unlease":    func(ctx context.Context) error { return s.Unlease(ctx, 1, "i") },
		"ObserveAll": func(ctx context.Context) error { _, err := s.ObserveAll(ctx); return err },
		"SetAside":   func(ctx context.Context) error { return s.SetAside(ctx, 1, 1) },
		"Announce": func(ctx context.Context) error {
			_, err := s.Announce(ctx, "i", map[string]int{"a": 1})
			return err
		},
		"Depart": func(ctx context.Context) error { return s.Depart(ctx, "i") },
		"Enter": func(ctx context.Context) error {
			_, err := s.Enter(ctx, domain.Session{Conn: "c", User: "u", Instance: "i"}, domain.SessionMulti)
			return err
		},
		"Leave": func(ctx context.Context) error {
			_, err := s.Leave(ctx, domain.Session{Conn: "c", User: "u", Instance: "i"})
			return err
		},
		"Presence":      func(ctx context.Context) error { _, err := s.Presence(ctx, []string{"u"}); return err },
		"DeadInstances": func(ctx context.Context) error { _, err := s.DeadInstances(ctx); return err },
		"Sweep":         func(ctx context.Context) error { _, err := s.Sweep(ctx, "i"); return err },
		"Restore": func(ctx context.Context) error {
			_, err := s.Restore(ctx, []domain.Session{{Conn: "c", User: "u"}})
			return err
		},
		"Tell": func(ctx context.Context) error {
			return s.Tell(ctx, map[string]domain.Note{"u": {Kind: domain.NoteLeft}})
		},
		"Since":         func(ctx context.Context) error { _, err := s.Since(ctx, map[string]string{"u": ""}); return err },
		"ToGroups":      func(ctx context.Context) error { return s.ToGroups(ctx, []string{"a"}, "", nil) },
		"ToUser":        func(ctx context.Context) error { return s.ToUser(ctx, "u", "", nil) },
		"SetHoles":      func(ctx context.Context) error { return s.SetHoles(ctx, "a", nil) },
		"Expiring":      func(ctx context.Context) error { _, err := s.Expiring(ctx, []string{"a"}); return err },
		"Expired":       func(ctx context.Context) error { _, err := s.Expired(ctx, 1); return err },
		"Forget":        func(ctx context.Context) error { return s.ForgetExpired(ctx, 1) },
		"Online":        func(ctx context.Context) error { _, err := s.Online(ctx, []string{"a"}); return err },
		"NowMS":         func(ctx context.Context) error { _, err := s.NowMS(ctx); return err },
		"CheckRoom":     s.CheckRoom,
		"Ping":          s.Ping,
		"PublishRepair": func(ctx context.Context) error { return s.PublishRepair(ctx, "a", 1) },
	} {
		require.Error(t, call(t.Context()), name)
	}
}
