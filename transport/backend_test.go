package transport

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"hearth/domain"
)

var errDown = errors.New("connection refused")

// backend is all of domain's stores over one map: a Redis that has every message. What is told to users is in
// backend_users_test.go.
type backend struct {
	// What the WebSocket never asks for is not there.
	domain.GroupStore
	domain.GroupCache
	domain.HeadCache
	domain.HeadStore
	domain.MessageStore

	mu       sync.Mutex // guards all below; never held while before or a done is called
	groups   map[string]*fakeGroup
	sends    map[string]sentOnce
	appended []domain.Append
	held     []func() // answers to appends, while holding
	holding  bool
	down     error // what every read answers, if set
	recents  int   // calls of Recent
	people         // users: their sessions and notes, and what they are told

	before  func(ctx context.Context, method string) error // runs at the start of every read; nil: nothing
	publish func(domain.Push)                              // gets what is accepted; nil: nobody
}

type fakeGroup struct {
	domain.Group
	members   map[string]domain.Role
	records   []domain.Record // ascending
	recalls   []domain.Recall
	holes     domain.Holes
	maxSeq    int64
	lastMS    int64
	persisted int64
	reads     map[string]int64
	hidden    map[int64]bool // accepted, but no read finds them yet
}

type sentOnce struct {
	hash     string
	accepted domain.Accepted
}

func newBackend() *backend {
	return &backend{groups: map[string]*fakeGroup{}, sends: map[string]sentOnce{}, people: newPeople()}
}

// add makes a group with members, all of the role member.
func (b *backend) add(typ domain.GroupType, id string, members ...string) {
	b.change(func(b *backend) { b.addLocked(typ, id, members...) })
}

func (b *backend) addLocked(typ domain.GroupType, id string, members ...string) *fakeGroup {
	g := &fakeGroup{
		Group: domain.Group{ID: id, Type: typ, Name: id, Version: 1}, members: map[string]domain.Role{}, reads: map[string]int64{},
		hidden: map[int64]bool{},
	}
	for _, user := range members {
		g.members[user] = domain.Member
	}
	b.groups[id] = g
	return g
}

// seat gives a user a role in a group, or with Outsider none; the group's version tells.
func (b *backend) seat(id, user string, role domain.Role) {
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.groups[id]
	g.Version++
	g.members[user] = role
	if role == domain.Outsider {
		delete(g.members, user)
	}
}

// accept stores the group's next n messages and returns their pushes, which nobody gets.
func (b *backend) accept(id string, n int) []domain.Push {
	b.mu.Lock()
	defer b.mu.Unlock()
	pushes := make([]domain.Push, 0, n)
	for range n {
		pushes = append(pushes, b.store(b.groups[id], "ann", "", textOf(b.groups[id].maxSeq+1)))
	}
	return pushes
}

// textOf is the body of the message with this seq.
func textOf(seq int64) []byte { return fmt.Appendf(nil, `[{"type":"text","text":"m%d"}]`, seq) }

// store gives a message the group's next seq; b.mu is held.
func (b *backend) store(g *fakeGroup, from, mute string, body []byte) domain.Push {
	g.maxSeq++
	g.lastMS = 1_700_000_000_000 + g.maxSeq
	m := domain.Message{Group: g.ID, Seq: g.maxSeq, TimeMS: g.lastMS, Header: domain.Header{From: from}, Body: body}
	record := m.Record()
	record.Mute = mute
	g.records = append(g.records, record)
	event := append([]byte(`{"event":"message",`), record.AppendJSON(nil)[1:]...)
	return domain.Push{Group: g.ID, Gen: 1, Seq: g.maxSeq, Mute: mute, Event: event}
}

// skip makes the group's next n seqs a hole.
func (b *backend) skip(id string, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.groups[id]
	g.holes = append(slices.Clone(g.holes), domain.Hole{From: g.maxSeq + 1, To: g.maxSeq + int64(n), Reason: domain.HoleLost})
	g.maxSeq += int64(n)
}

// change runs do alone.
func (b *backend) change(do func(*backend)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	do(b)
}

func (b *backend) fail(err error) { b.change(func(b *backend) { b.down = err }) }

// enter is the start of every read: it locks unless the store is away.
func (b *backend) enter(ctx context.Context, method string) (unlock func(), err error) {
	b.mu.Lock()
	before := b.before
	b.mu.Unlock()
	if before != nil {
		if err := before(ctx, method); err != nil {
			b.mu.Lock()
			return b.mu.Unlock, err
		}
	}
	b.mu.Lock()
	return b.mu.Unlock, b.down
}

// stall lets reads of this kind wait until the returned function is called.
func (b *backend) stall(method string) (goOn func()) {
	gate := make(chan struct{})
	b.change(func(b *backend) {
		b.before = func(ctx context.Context, called string) error {
			if called != method {
				return nil
			}
			select {
			case <-gate:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	return func() { close(gate) }
}

func (b *backend) Heads(ctx context.Context, user string, groups []string) ([]domain.CachedHead, error) {
	unlock, err := b.enter(ctx, "Heads")
	defer unlock()
	if err != nil {
		return nil, err
	}
	heads := make([]domain.CachedHead, len(groups))
	for i, id := range groups {
		heads[i].Group = id
		if g := b.groups[id]; g != nil {
			heads[i] = domain.CachedHead{GroupLoaded: true, Seeded: true, ReadLoaded: true, Head: domain.Head{
				Group: id, Type: g.Type, Name: g.Name, Join: g.Join, Dismissed: g.Dismissed, Version: g.Version, Role: g.members[user],
				MaxSeq: g.maxSeq, LastMS: g.lastMS, PersistedSeq: g.persisted, ReadSeq: g.reads[user], Holes: g.holes,
			}}
		}
	}
	return heads, nil
}

func (b *backend) Recent(ctx context.Context, ranges []domain.Range) ([][]domain.Record, error) {
	unlock, err := b.enter(ctx, "Recent")
	defer unlock()
	b.recents++
	answers := make([][]domain.Record, len(ranges))
	for i, r := range ranges {
		var in []domain.Record
		for _, record := range b.groups[r.Group].records {
			if r.From <= record.Seq && record.Seq <= r.To && !b.groups[r.Group].hidden[record.Seq] {
				in = append(in, record)
			}
		}
		in = domain.Entombed(in, b.groups[r.Group].recalls)
		if r.Last {
			answers[i] = in[max(0, len(in)-r.Limit):]
		} else {
			answers[i] = in[:min(len(in), r.Limit)]
		}
	}
	return answers, err
}

func (b *backend) Recalled(ctx context.Context, groups []string) ([][]domain.Recall, error) {
	unlock, err := b.enter(ctx, "Recalled")
	defer unlock()
	lists := make([][]domain.Recall, len(groups))
	for i, group := range groups {
		lists[i] = b.groups[group].recalls
	}
	return lists, err
}

// Recall recalls whatever there is, and tells nobody.
func (b *backend) Recall(ctx context.Context, o domain.RecallOrder) (domain.RecallOutcome, error) {
	unlock, err := b.enter(ctx, "Recall")
	defer unlock()
	g := b.groups[o.Group]
	g.recalls = append(g.recalls, domain.Recall{Group: o.Group, Seq: o.Seq, TimeMS: localClock{}.NowMS(), By: o.Actor.User})
	return domain.RecallOutcome{}, err
}

func (b *backend) RecalledSince(context.Context, int64, map[string]int64, int) (map[string][]domain.Recall, []string, error) {
	return map[string][]domain.Recall{}, nil, nil
}

// Mentions has one that is unread in each group called so.
func (b *backend) Mentions(_ context.Context, _ string, groups []string) ([]domain.FreshMentions, error) {
	lists := make([]domain.FreshMentions, len(groups))
	for i, group := range groups {
		if group == "mentions" {
			lists[i].Seqs = []int64{1}
		}
	}
	return lists, nil
}

func (b *backend) Mentioned(context.Context, string, []domain.Range) (map[string]int64, error) {
	return nil, nil
}

func (b *backend) Holes(ctx context.Context, group string) (domain.Holes, error) {
	unlock, err := b.enter(ctx, "Holes")
	defer unlock()
	return b.groups[group].holes, err
}

func (b *backend) GroupsOf(ctx context.Context, user, _ string, _ int) (ids []string, err error) {
	unlock, err := b.enter(ctx, "GroupsOf")
	defer unlock()
	for _, id := range slices.Sorted(maps.Keys(b.groups)) {
		if _, in := b.groups[id].members[user]; in && err == nil {
			ids = append(ids, id)
		}
	}
	return ids, err
}

func (b *backend) OwnGroups(context.Context, string) ([]string, time.Duration, bool, error) {
	return nil, 0, false, nil
}

func (b *backend) RememberGroups(context.Context, string, []string, string) error { return nil }

func (b *backend) Roles(ctx context.Context, group string, users []string) (map[string]domain.Role, bool, error) {
	unlock, err := b.enter(ctx, "Roles")
	defer unlock()
	roles := map[string]domain.Role{}
	for _, user := range users {
		if role, in := b.groups[group].members[user]; in {
			roles[user] = role
		}
	}
	return roles, true, err
}

func (b *backend) MarkRead(ctx context.Context, group, user string, seq, _ int64, event []byte) (int64, error) {
	unlock, err := b.enter(ctx, "MarkRead")
	defer unlock()
	g := b.groups[group]
	if err == nil && seq > g.reads[user] {
		g.reads[user] = seq
		go b.hub.Noticed(group, domain.Notice{Except: domain.ExceptUser(user), Event: event})
	}
	return g.reads[user], err
}

func (b *backend) ReadMarksAbove(context.Context, string, int64) (map[string]int64, error) {
	return nil, errors.New("not asked by a WebSocket")
}

func (b *backend) Create(_ context.Context, g domain.Group, _ []string, tell domain.Tell) (*domain.GroupChange, error) {
	b.mu.Lock()
	_, in := b.groups[g.ID]
	b.mu.Unlock()
	if in {
		return nil, domain.Errorf(domain.CodeConflict, "the id is in use")
	}
	b.add(g.Type, g.ID)
	c := &domain.GroupChange{Group: g, Created: true}
	tell(c)
	return c, nil
}

// Append accepts at once and answers at once; while holding, the answers wait in held.
func (b *backend) Append(a domain.Append, done func(domain.Accepted, error)) {
	b.mu.Lock()
	accepted, push, err := b.take(a)
	publish := b.publish
	answer := func() {
		done(accepted, err)
		if push != nil && publish != nil {
			publish(*push)
		}
	}
	if b.holding {
		b.held = append(b.held, answer)
		answer = func() {}
	}
	b.mu.Unlock()
	answer()
}

func (b *backend) take(a domain.Append) (domain.Accepted, *domain.Push, error) {
	b.appended = append(b.appended, a)
	if b.down != nil {
		return domain.Accepted{}, nil, domain.Unavailable(b.down, "Redis")
	}
	g := b.groups[a.Group]
	if lower, higher, ok := domain.SplitDirect(a.Group); g == nil && a.Open && ok {
		g = b.addLocked(domain.Direct, a.Group, lower, higher)
		note := domain.Note{Kind: domain.NoteJoined, Group: a.Group, Version: newer(), Event: domain.GroupEvent{Group: a.Group, Change: domain.ChangeCreated}.JSON()}
		b.tell(map[string]domain.Note{lower: note, higher: note})
	}
	if g == nil {
		return domain.Accepted{}, nil, domain.Errorf(domain.CodeNotFound, "there is no such group")
	}
	if err := domain.Allow(domain.Actor{User: a.From}, domain.Send, g.Type, g.Join, g.members[a.From]); err != nil {
		return domain.Accepted{}, nil, err
	}
	if first, ok := b.sends[a.Dedupe]; ok {
		if first.hash != a.Hash {
			return domain.Accepted{}, nil, domain.Errorf(domain.CodeConflict, "the client_id was used for other content")
		}
		first.accepted.Duplicate = true
		return first.accepted, nil, nil
	}
	push := b.store(g, a.From, a.Mute, a.Body)
	got := domain.Accepted{Group: a.Group, Gen: 1, Seq: push.Seq, TimeMS: g.lastMS, PersistedSeq: g.persisted}
	b.sends[a.Dedupe] = sentOnce{a.Hash, got}
	return got, &push, nil
}

// release answers the appends held.
func (b *backend) release() {
	b.mu.Lock()
	held := b.held
	b.held, b.holding = nil, false
	b.mu.Unlock()
	for _, answer := range held {
		answer()
	}
}

func (b *backend) bodies() (texts []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.appended {
		texts = append(texts, string(a.Body))
	}
	return texts
}

// localClock is the Clock of a server without Redis.
type localClock struct{}

func (localClock) NowMS() int64 { return time.Now().UnixMilli() }

func (b *backend) Messages(context.Context, domain.Range) ([]domain.Record, error) { return nil, nil }

func (b *backend) Snapshot(context.Context, string) (*domain.GroupSnapshot, error) {
	return nil, domain.Errorf(domain.CodeNotFound, "there is no such group")
}

// channels is a Channels that tests drive by hand, or that confirms by itself.
type channels struct {
	hub       *Hub
	byHand    bool
	still     atomic.Bool // nothing is flowing
	mu        sync.Mutex  // guards open and users
	open      map[string]bool
	users     map[string]bool
	confirmed sync.WaitGroup
}

func (c *channels) Subscribe(groups []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, group := range groups {
		c.open[group] = true
		if !c.byHand {
			c.confirmed.Go(func() { c.hub.Confirmed(group) })
		}
	}
}

func (c *channels) Unsubscribe(groups []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, group := range groups {
		delete(c.open, group)
	}
}

func (c *channels) SubscribeUser(user string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.users[user] = true
	c.confirmed.Go(func() { c.hub.UserNotes(user) })
}

func (c *channels) UnsubscribeUser(user string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.users, user)
}

func (c *channels) Flowing() bool { return !c.still.Load() }

// listening are the users whose channels are open, sorted.
func (c *channels) listening() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.users))
}

// subscribed are the channels that are open, sorted.
func (c *channels) subscribed() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.open))
}

// failing is a before that fails reads of these kinds.
func failing(methods ...string) func(context.Context, string) error {
	return func(_ context.Context, called string) error {
		if slices.Contains(methods, called) {
			return errDown
		}
		return nil
	}
}

// countHeads counts reads of heads; it ends a tight loop of them, in which no time would pass.
func countHeads(n *atomic.Int64) func(context.Context, string) error {
	return func(_ context.Context, method string) error {
		if method == "Heads" && n.Add(1) > 10_000 {
			time.Sleep(time.Hour)
		}
		return nil
	}
}
