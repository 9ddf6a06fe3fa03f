package redisrepo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"hearth/domain"
	"hearth/domain/testserver"
)

const (
	testPartitions = 16
	testIdentity   = "5555555555555555555555555555555555555555" // of miniredis, which has no INFO replication
	patience       = 20 * time.Second                           // after which a test no longer believes in its condition
)

// env is one empty Redis, in generation 1 on every partition.
type env struct {
	addr   string
	mini   *miniredis.Miniredis // nil on a real server
	server *testserver.Server   // nil on miniredis
	cfg    Config
	gens   [testPartitions]atomic.Int64
	store  *Store
}

// eachRedis runs a test on miniredis and on a redis-server of its own.
func eachRedis(t *testing.T, f func(t *testing.T, e *env)) {
	t.Parallel()
	t.Run("miniredis", func(t *testing.T) {
		t.Parallel()
		f(t, newMini(t))
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		f(t, newReal(t))
	})
}

func newMini(t *testing.T) *env {
	t.Helper()
	m := miniredis.RunT(t)
	m.ClockTTL(true)
	e := &env{addr: m.Addr(), mini: m, cfg: Config{Identity: testIdentity}}
	e.begin(t)
	return e
}

func newReal(t *testing.T, args ...string) *env {
	t.Helper()
	s := testserver.StartRedis(t, args...)
	e := &env{addr: s.Addr(), server: s}
	e.begin(t)
	return e
}

func (e *env) begin(t *testing.T) {
	t.Helper()
	e.cfg.Partitions, e.cfg.HeatWindow = testPartitions, 5*time.Minute
	e.store = e.open(t, e.addr)
	e.raise(t, 1)
}

// open makes another store on the same Redis, perhaps by way of a proxy.
func (e *env) open(t *testing.T, addr string) *Store {
	t.Helper()
	cfg := e.cfg
	cfg.Addrs = []string{addr}
	store, err := Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	store.UseGenerations(generationsOf{e})
	return store
}

// generationsOf are those that a test has set; nobody renews them.
type generationsOf struct{ e *env }

func (g generationsOf) Of(p int) int64 { return g.e.gens[p].Load() }

func (generationsOf) Renew(context.Context, int, int64) error { return nil }

// raise sets the generation of every partition, in Redis and for the stores.
func (e *env) raise(t *testing.T, gen int64) {
	t.Helper()
	for p := range testPartitions {
		e.raiseRedis(t, p, gen)
		e.gens[p].Store(gen)
	}
}

// heatIsWhole says so of every partition, as it is where the job has nothing to bring back: a ranking waits for that.
func heatIsWhole(t testing.TB, s *Store) {
	t.Helper()
	for p := range int(s.cfg.Partitions) {
		gen := domain.LogRange{Partition: p, Gen: s.gens(p)}
		require.NoError(t, s.AddHeat(t.Context(), gen, nil))
		if s.cfg.CountMessages {
			require.NoError(t, s.AddMessages(t.Context(), gen, nil, true))
		}
	}
}

func (e *env) identity(t *testing.T) string {
	t.Helper()
	o, err := e.store.Observe(t.Context(), 0)
	require.NoError(t, err)
	return o.Identity
}

// raiseRedis sets a generation in Redis behind the stores' back.
func (e *env) raiseRedis(t *testing.T, p int, gen int64) {
	t.Helper()
	o, err := e.store.Observe(t.Context(), p)
	require.NoError(t, err)
	set, err := e.store.SetGeneration(t.Context(), p, gen, o.Identity)
	require.NoError(t, err)
	require.True(t, set, "generation %d of partition %d", gen, p)
}

func (e *env) log(group string) domain.LogRange {
	p := e.cfg.Partitions.Of(group)
	return domain.LogRange{Partition: p, Gen: e.gens[p].Load()}
}

// logged reads the whole log that the group's messages go to.
func (e *env) logged(t *testing.T, group string) []domain.LogEntry {
	t.Helper()
	logs, err := e.store.ReadLogs(t.Context(), []domain.LogRange{e.log(group)}, 100_000)
	require.NoError(t, err)
	return logs[0]
}

func (e *env) commit(t *testing.T, group string, entries []domain.LogEntry) {
	t.Helper()
	require.NoError(t, e.store.Committed(t.Context(), []domain.LogBatch{{LogRange: e.log(group), Entries: entries}}))
}

func (e *env) head(t *testing.T, user, group string) domain.CachedHead {
	t.Helper()
	heads, err := e.store.Heads(t.Context(), user, []string{group})
	require.NoError(t, err)
	return heads[0]
}

// configSet is for real servers.
func (e *env) configSet(t *testing.T, name, value string) {
	t.Helper()
	require.NoError(t, e.store.rdb.ConfigSet(t.Context(), name, value).Err())
}

// groupsIn names n groups of a partition.
func groupsIn(partition, n int) []string {
	var groups []string
	for i := 0; len(groups) < n; i++ {
		if g := fmt.Sprint("g", i); domain.Partitions(testPartitions).Of(g) == partition {
			groups = append(groups, g)
		}
	}
	return groups
}

// directIn names a direct conversation of a partition; one side is u.
func directIn(partition int) string {
	for i := 0; ; i++ {
		if g := domain.DirectID("u", fmt.Sprint("t", i)); domain.Partitions(testPartitions).Of(g) == partition {
			return g
		}
	}
}

// group is a snapshot of version 1 whose members are given as user or user:role or user:role:mute.
func group(id string, typ domain.GroupType, members ...string) *domain.GroupSnapshot {
	s := &domain.GroupSnapshot{Group: domain.Group{ID: id, Type: typ, Name: "name of " + id, Join: domain.JoinInvite, Version: 1}}
	for _, m := range members {
		user, role, _ := strings.Cut(m, ":")
		member := domain.Membership{User: user, Role: domain.Role(role)}
		if role == "" {
			member.Role = domain.Member
		}
		s.Members = append(s.Members, member)
	}
	return s
}

// recovery is a scripted Recovery: it knows groups and seeds, and notes its calls. A test may take a step over.
type recovery struct {
	e       *env
	onRenew func(ctx context.Context, p int, seen int64) error
	onLoad  func(ctx context.Context, group string) error
	onSeed  func(ctx context.Context, gen int64, groups []string) error

	mu     sync.Mutex // guards what follows
	groups map[string]*domain.GroupSnapshot
	seeds  map[string]domain.Seed
	calls  []string
}

func (e *env) recovery(groups ...*domain.GroupSnapshot) *recovery {
	r := &recovery{e: e, groups: make(map[string]*domain.GroupSnapshot), seeds: make(map[string]domain.Seed)}
	for _, g := range groups {
		r.groups[g.ID] = g
	}
	return r
}

func (r *recovery) called(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, fmt.Sprintf(format, args...))
}

func (r *recovery) made() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

// Renew raises the generation by one where the server's does not fit.
func (r *recovery) Renew(ctx context.Context, p int, seen int64) error {
	r.called("renew %d", seen)
	if r.onRenew != nil {
		return r.onRenew(ctx, p, seen)
	}
	return r.renew(ctx, p)
}

func (r *recovery) renew(ctx context.Context, p int) error {
	o, err := r.e.store.Observe(ctx, p)
	if err != nil {
		return err
	}
	gen := max(o.Gen, r.e.gens[p].Load())
	if o.Gen < gen || o.Server != o.Identity {
		gen++
	}
	set, err := r.e.store.SetGeneration(ctx, p, gen, o.Identity)
	if err != nil {
		return err
	}
	if !set {
		return fmt.Errorf("generation %d was overtaken", gen)
	}
	r.e.gens[p].Store(gen)
	return nil
}

// Load opens a direct conversation where it is asked to.
func (r *recovery) Load(ctx context.Context, id string, open bool) error {
	if open {
		r.called("open %s", id)
		r.open(id)
	} else {
		r.called("load %s", id)
	}
	if r.onLoad != nil {
		return r.onLoad(ctx, id)
	}
	return r.load(ctx, id)
}

func (r *recovery) open(id string) {
	lower, higher, _ := domain.SplitDirect(id)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.groups[id] == nil {
		r.groups[id] = group(id, domain.Direct, lower, higher)
	}
}

func (r *recovery) load(ctx context.Context, group string) error {
	r.mu.Lock()
	s := r.groups[group]
	r.mu.Unlock()
	if s == nil {
		return domain.Errorf(domain.CodeNotFound, "there is no such group")
	}
	return r.e.store.FillGroup(ctx, s)
}

func (r *recovery) Seed(ctx context.Context, p int, gen int64, groups []string) error {
	slices.Sort(groups)
	r.called("seed %d %s", gen, strings.Join(groups, " "))
	if r.onSeed != nil {
		return r.onSeed(ctx, gen, groups)
	}
	return r.seed(ctx, p, gen, groups)
}

func (r *recovery) seed(ctx context.Context, p int, gen int64, groups []string) error {
	seeds := make(map[string]domain.Seed)
	r.mu.Lock()
	for _, g := range groups {
		seeds[g] = r.seeds[g]
	}
	r.mu.Unlock()
	return r.e.store.SetSeeds(ctx, p, gen, seeds)
}

// sender is a running Appender with the use case in front of it.
type sender struct {
	*Appender
	sends *domain.Sends
	stop  func() // ends Run and waits for it; may be called twice
}

func (e *env) sender(t *testing.T, r Recovery, cfg AppendConfig) *sender {
	t.Helper()
	return newSender(t, e.store, r, cfg)
}

func newSender(t *testing.T, store *Store, r Recovery, cfg AppendConfig) *sender {
	t.Helper()
	s := idleSender(store, r, cfg, zerolog.Nop())
	s.run(t)
	return s
}

// idleSender queues sends until it runs.
func idleSender(store *Store, r Recovery, cfg AppendConfig, log zerolog.Logger) *sender {
	if cfg.BacklogLimit == 0 {
		cfg.BacklogLimit = 1_000_000
	}
	a := NewAppender(store, r, cfg, log, prometheus.NewRegistry())
	return &sender{Appender: a, sends: domain.NewSends(a, &domain.Watermarks{}, nobody{})}
}

// nobody is online.
type nobody struct{}

func (nobody) PeerOnline(context.Context, string) bool { return false }

func (s *sender) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(s.stop)
}

type result struct {
	domain.Accepted
	err error
}

// post queues a send.
func (s *sender) post(d domain.Draft) <-chan result {
	if d.Body == nil {
		d.Body = text("hello")
	}
	answer := make(chan result, 2) // a second answer is found by the tests that count
	s.sends.Send(d, func(r domain.Receipt, err error) { answer <- result{r.Accepted, err} }, nil)
	return answer
}

func await(t *testing.T, answer <-chan result) result {
	t.Helper()
	select {
	case r := <-answer:
		return r
	case <-time.After(patience):
		require.Fail(t, "send was not answered")
		panic("unreachable")
	}
}

// must sends and wants it accepted.
func (s *sender) must(t *testing.T, d domain.Draft) domain.Accepted {
	t.Helper()
	r := await(t, s.post(d))
	require.NoError(t, r.err)
	return r.Accepted
}

// refused sends and wants an error of this code.
func (s *sender) refused(t *testing.T, code domain.Code, d domain.Draft) domain.Error {
	t.Helper()
	r := await(t, s.post(d))
	require.Equal(t, code, domain.CodeOf(r.err), "got %+v, %v", r.Accepted, r.err)
	return *domain.AsError(r.err)
}

func text(s string) []byte { return []byte(`[{"type":"text","text":"` + s + `"}]`) }

// until polls a condition.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		if time.Now().After(deadline) {
			require.Fail(t, "never became true: "+what)
		}
		<-tick.C
	}
}
