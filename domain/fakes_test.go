package domain_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"hearth/domain"
)

var errDown = errors.New("connection refused")

// fakeMySQL is every store interface of the domain over maps. Tests fill the maps before they use it.
type fakeMySQL struct {
	mu      sync.Mutex // guards all below while methods run
	groups  map[string]*domain.Group
	members map[string]map[string]domain.Membership
	rows    map[string][]domain.Record // ascending
	holes   map[string]domain.Holes
	reads   map[domain.GroupUser]int64
	down    error          // when set, every method fails with it
	calls   map[string]int // by method

	kept     map[int64]bool // changes that are not applied
	lastKept int64
	tells    func(c *domain.GroupChange) // sees each change when it is told; may be nil
	stored   []byte                      // what tells keeps
}

func newFakeMySQL() *fakeMySQL {
	return &fakeMySQL{
		groups:  map[string]*domain.Group{},
		members: map[string]map[string]domain.Membership{},
		rows:    map[string][]domain.Record{},
		holes:   map[string]domain.Holes{},
		reads:   map[domain.GroupUser]int64{},
		calls:   map[string]int{},
		kept:    map[int64]bool{},
	}
}

// enter locks, counts the call and tells whether MySQL is there; the caller defers the unlock.
func (f *fakeMySQL) enter(method string) (unlock func(), err error) {
	f.mu.Lock()
	f.calls[method]++
	return f.mu.Unlock, f.down
}

func (f *fakeMySQL) group(id string) (*domain.Group, error) {
	if g := f.groups[id]; g != nil {
		return g, nil
	}
	return nil, domain.Errorf(domain.CodeNotFound, "there is no such group")
}

// sortedMembers is everybody with a place in the group, by user id.
func (f *fakeMySQL) sortedMembers(group string) []domain.Membership {
	var list []domain.Membership
	for _, user := range slices.Sorted(maps.Keys(f.members[group])) {
		list = append(list, f.members[group][user])
	}
	return list
}

func (f *fakeMySQL) Snapshot(_ context.Context, group string) (*domain.GroupSnapshot, error) {
	unlock, err := f.enter("Snapshot")
	defer unlock()
	if err != nil {
		return nil, err
	}
	g, err := f.group(group)
	if err != nil {
		return nil, err
	}
	return &domain.GroupSnapshot{Group: *g, Members: f.sortedMembers(group)}, nil
}

func (f *fakeMySQL) LiveTypes(_ context.Context, groups []string) (map[string]domain.GroupType, error) {
	unlock, err := f.enter("LiveTypes")
	defer unlock()
	if err != nil {
		return nil, err
	}
	types := map[string]domain.GroupType{}
	for _, group := range groups {
		if g, err := f.group(group); err == nil && !g.Dismissed {
			types[group] = g.Type
		}
	}
	return types, nil
}

func (f *fakeMySQL) Floors(_ context.Context, groups []string) (map[string]domain.Floor, error) {
	unlock, err := f.enter("Floors")
	defer unlock()
	if err != nil {
		return nil, err
	}
	floors := map[string]domain.Floor{}
	for _, group := range groups {
		floor := domain.Floor{Holes: f.holes[group]}
		for _, r := range f.rows[group] {
			floor.MaxSeq, floor.LastMS = r.Seq, r.TimeMS
		}
		for _, h := range f.holes[group] {
			floor.MaxSeq = max(floor.MaxSeq, h.To)
		}
		floors[group] = floor
	}
	return floors, nil
}

func (f *fakeMySQL) ReadMarks(_ context.Context, marks []domain.GroupUser) (map[domain.GroupUser]int64, error) {
	unlock, err := f.enter("ReadMarks")
	defer unlock()
	if err != nil {
		return nil, err
	}
	found := map[domain.GroupUser]int64{}
	for _, m := range marks {
		found[m] = f.reads[m]
	}
	return found, nil
}

func (f *fakeMySQL) Messages(_ context.Context, r domain.Range) ([]domain.Record, error) {
	unlock, err := f.enter("Messages")
	defer unlock()
	return within(f.rows[r.Group], r), err
}

// RecalledSince has no room for groups whose id starts with "many".
func (f *fakeMySQL) RecalledSince(_ context.Context, afterMS int64, upTo map[string]int64, limit int) (found map[string][]domain.Recall, rest []string, err error) {
	unlock, err := f.enter("RecalledSince")
	defer unlock()
	found = map[string][]domain.Recall{}
	for group, last := range upTo {
		if limit > 0 && strings.HasPrefix(group, "many") {
			rest = append(rest, group)
			continue
		}
		for _, r := range f.rows[group] {
			if ms, by := r.Recalled(); ms > afterMS && r.Seq <= last {
				found[group] = append(found[group], domain.Recall{Group: group, Seq: r.Seq, TimeMS: ms, By: by})
			}
		}
	}
	return found, rest, err
}

func (f *fakeMySQL) Mentioned(_ context.Context, user string, ranges []domain.Range) (map[string]int64, error) {
	unlock, err := f.enter("Mentioned")
	defer unlock()
	found := map[string]int64{}
	for _, r := range ranges {
		for _, record := range f.rows[r.Group] {
			m, _ := domain.MessageOf(record)
			if r.From <= m.Seq && m.Seq <= r.To && m.RecalledMS == 0 && (slices.Contains(m.Mentions, user) || slices.Contains(m.Mentions, "*")) {
				found[r.Group] = m.Seq
			}
		}
	}
	return found, err
}

func (f *fakeMySQL) Holes(_ context.Context, group string) (domain.Holes, error) {
	unlock, err := f.enter("Holes")
	defer unlock()
	return f.holes[group], err
}

func (f *fakeMySQL) LastSeqBefore(_ context.Context, group string, timeMS int64) (last int64, err error) {
	unlock, err := f.enter("LastSeqBefore")
	defer unlock()
	for _, r := range f.rows[group] {
		if r.TimeMS < timeMS {
			last = r.Seq
		}
	}
	return last, err
}

func (f *fakeMySQL) Readers(_ context.Context, q domain.ReaderQuery) (int, []string, error) {
	unlock, err := f.enter("Readers")
	defer unlock()
	users := slices.Clone(q.Pending)
	for of, mark := range f.reads {
		if of.Group == q.Group && mark >= q.Seq {
			users = append(users, of.User)
		}
	}
	users = slices.DeleteFunc(slices.Compact(slices.Sorted(slices.Values(users))), func(user string) bool {
		role := f.members[q.Group][user].Role
		return user == q.Without || q.Members && (role == domain.Outsider || role == domain.BlockedIn)
	})
	if len(users) > q.Names {
		return len(users), nil, err
	}
	return len(users), users, err
}

func (f *fakeMySQL) GroupsOf(_ context.Context, user, after string, limit int) (ids []string, err error) {
	unlock, err := f.enter("GroupsOf")
	defer unlock()
	for _, id := range slices.Sorted(maps.Keys(f.groups)) {
		if f.members[id][user].Role != domain.Outsider && id > after && (limit == 0 || len(ids) < limit) {
			ids = append(ids, id)
		}
	}
	return ids, err
}

func (f *fakeMySQL) Create(_ context.Context, g domain.Group, members []string, tell domain.Tell) (*domain.GroupChange, error) {
	unlock, err := f.enter("Create")
	defer unlock()
	if err != nil {
		return nil, err
	}
	if old := f.groups[g.ID]; old != nil && old.Dismissed {
		return nil, domain.Errorf(domain.CodeGone, "the id was in use")
	} else if old != nil {
		return nil, domain.Errorf(domain.CodeConflict, "the id is in use")
	}
	g.Version, g.CreatedMS = 1, timeOf(0)
	f.groups[g.ID], f.members[g.ID] = &g, map[string]domain.Membership{}
	if g.Owner != "" {
		f.members[g.ID][g.Owner] = domain.Membership{User: g.Owner, Role: domain.Owner}
	}
	for _, user := range members {
		if _, in := f.members[g.ID][user]; in {
			return nil, errors.New("duplicate entry for key PRIMARY")
		}
		f.members[g.ID][user] = domain.Membership{User: user, Role: domain.Member}
	}
	g.MemberCount = len(f.members[g.ID])
	return f.told(&domain.GroupChange{Group: g, Put: f.sortedMembers(g.ID), Created: true, Kept: f.keep()}, tell)
}

// told has tell complete a change that was made.
func (f *fakeMySQL) told(c *domain.GroupChange, tell domain.Tell) (*domain.GroupChange, error) {
	tell(c)
	if f.tells != nil {
		f.tells(c)
	}
	return c, nil
}

func (f *fakeMySQL) Group(_ context.Context, group string) (*domain.Group, error) {
	unlock, err := f.enter("Group")
	defer unlock()
	if err != nil {
		return nil, err
	}
	return f.group(group)
}

func (f *fakeMySQL) Groups(_ context.Context, user, after string, limit int) (list []domain.Group, err error) {
	unlock, err := f.enter("Groups")
	defer unlock()
	for _, id := range slices.Sorted(maps.Keys(f.groups)) {
		g, role := f.groups[id], f.members[id][user].Role
		mine := user == "" || role != domain.Outsider && role != domain.BlockedIn
		if mine && id > after && !g.Dismissed && len(list) < limit {
			list = append(list, *g)
		}
	}
	return list, err
}

func (f *fakeMySQL) AddMembers(_ context.Context, group string, users []string, readSeq int64, tell domain.Tell) (*domain.GroupChange, error) {
	unlock, err := f.enter("AddMembers")
	defer unlock()
	if err != nil {
		return nil, err
	}
	g := f.groups[group]
	g.Version++
	change := &domain.GroupChange{Group: *g, Raised: true, Kept: f.keep()}
	for _, user := range users {
		m := f.members[group][user]
		switch m.Role {
		case domain.BlockedIn:
			return nil, domain.Errorf(domain.CodeForbidden, "the user is blocked")
		case domain.Outsider:
			m.User, m.Role = user, domain.Member
			f.members[group][user] = m
			f.reads[domain.GroupUser{Group: group, User: user}] = readSeq
			change.Joined = append(change.Joined, user)
		}
		change.Put = append(change.Put, m)
	}
	return f.told(change, tell)
}

func (f *fakeMySQL) ChangeMember(
	_ context.Context, group, actor, user string, decide domain.Decide, tell domain.Tell,
) (*domain.GroupChange, error) {
	unlock, err := f.enter("ChangeMember")
	defer unlock()
	if err != nil {
		return nil, err
	}
	was := f.members[group][user]
	is, err := decide(f.groups[group], f.members[group][actor], was)
	if err != nil {
		return nil, err
	}
	was.User = is.User
	if is == was {
		return f.told(&domain.GroupChange{Group: *f.groups[group], Put: []domain.Membership{is}}, tell)
	}
	return f.told(f.move(group, is), tell)
}

// move writes a place that has changed.
func (f *fakeMySQL) move(group string, is domain.Membership) *domain.GroupChange {
	g, c := f.groups[group], &domain.GroupChange{Raised: true, Put: []domain.Membership{is}, Kept: f.keep()}
	f.members[group][is.User] = is
	if is.Role == domain.Owner && g.Owner != is.User {
		if former, ok := f.members[group][g.Owner]; ok {
			former.Role = domain.Admin
			f.members[group][g.Owner] = former
			c.Put = append(c.Put, former)
		}
		g.Owner = is.User
	}
	if is.Role == domain.Outsider && is.MuteUntilMS == 0 {
		delete(f.members[group], is.User)
		c.Put, c.Removed = nil, []string{is.User}
	}
	g.Version++
	c.Group = *g
	return c
}

func (f *fakeMySQL) Update(_ context.Context, group string, change func(*domain.Group), tell domain.Tell) (*domain.GroupChange, error) {
	unlock, err := f.enter("Update")
	defer unlock()
	if err != nil {
		return nil, err
	}
	g := f.groups[group]
	before, _ := json.Marshal(g)
	change(g)
	after, _ := json.Marshal(g)
	raised := !bytes.Equal(before, after)
	if !raised {
		return f.told(&domain.GroupChange{Group: *g}, tell)
	}
	g.Version++
	return f.told(&domain.GroupChange{Group: *g, Raised: true, Kept: f.keep()}, tell)
}

func (f *fakeMySQL) Dismiss(_ context.Context, group string, tell domain.Tell) (*domain.GroupChange, error) {
	unlock, err := f.enter("Dismiss")
	defer unlock()
	if err != nil {
		return nil, err
	}
	f.groups[group].Dismissed = true
	f.groups[group].Version++
	return f.told(&domain.GroupChange{Group: *f.groups[group], Kept: f.keep()}, tell)
}

// keep keeps a change until it is applied.
func (f *fakeMySQL) keep() int64 {
	f.lastKept++
	f.kept[f.lastKept] = true
	return f.lastKept
}

func (f *fakeMySQL) Applied(_ context.Context, c *domain.GroupChange) error {
	unlock, err := f.enter("Applied")
	defer unlock()
	if err == nil {
		delete(f.kept, c.Kept)
	}
	return err
}

func (f *fakeMySQL) Members(_ context.Context, group, after string, limit int) (list []domain.Membership, err error) {
	unlock, err := f.enter("Members")
	defer unlock()
	for _, m := range f.sortedMembers(group) {
		if m.User > after && m.Role.IsMember() && len(list) < limit {
			list = append(list, m)
		}
	}
	return list, err
}

func (f *fakeMySQL) Member(_ context.Context, group, user string) (domain.Membership, error) {
	unlock, err := f.enter("Member")
	defer unlock()
	return f.members[group][user], err
}

// within is what of the ascending records a range asks for.
func within(records []domain.Record, r domain.Range) []domain.Record {
	var in []domain.Record
	for _, record := range records {
		if r.From <= record.Seq && record.Seq <= r.To {
			in = append(in, record)
		}
	}
	if len(in) > r.Limit && r.Last {
		return in[len(in)-r.Limit:]
	}
	return in[:min(len(in), r.Limit)]
}

// fakeRedis is every cache interface of the domain over maps; what is not in them is what Redis lost.
type fakeRedis struct {
	floors   map[string]domain.Floor
	own      map[string][]string // groups of users
	ownAge   time.Duration
	lastNote string

	notes     map[string][]domain.Note // by user
	told      []string                 // over the bus
	mu        sync.Mutex               // guards all below while methods run
	groups    map[string]*domain.GroupSnapshot
	seqs      map[string]fakeSeqs
	reads     map[domain.GroupUser]int64
	recent    map[string][]domain.Record // ascending
	scores    map[string]int             // speakers
	traffic   map[string]int             // messages
	nowMS     int64
	online    map[string]int       // viewers
	whole     string               // what the heat belongs to; "" while it is brought back
	turns     map[string]*fakeTurn // by type of snapshot
	snapshots map[string]fakeSnapshot
	changes   []*domain.GroupChange
	seeds     map[string]domain.Seed
	recalls   map[string][]domain.Recall
	recall    func(domain.RecallOrder) (domain.RecallOutcome, error)
	mentions  map[string]domain.FreshMentions
	down      error          // when set, every method fails with it
	calls     map[string]int // by method
}

type fakeSeqs struct {
	MaxSeq, LastMS, PersistedSeq int64
	Holes                        domain.Holes
}

func newFakeRedis() *fakeRedis {
	return &fakeRedis{
		groups:    map[string]*domain.GroupSnapshot{},
		seqs:      map[string]fakeSeqs{},
		reads:     map[domain.GroupUser]int64{},
		recent:    map[string][]domain.Record{},
		nowMS:     timeOf(1000),
		whole:     "1",
		turns:     map[string]*fakeTurn{},
		snapshots: map[string]fakeSnapshot{},
		calls:     map[string]int{},
		notes:     map[string][]domain.Note{},
		floors:    map[string]domain.Floor{},
		own:       map[string][]string{},
	}
}

func (f *fakeRedis) enter(method string) (unlock func(), err error) {
	f.mu.Lock()
	f.calls[method]++
	return f.mu.Unlock, f.down
}

func (f *fakeRedis) Heads(_ context.Context, user string, groups []string) ([]domain.CachedHead, error) {
	unlock, err := f.enter("Heads")
	defer unlock()
	if err != nil {
		return nil, err
	}
	heads := make([]domain.CachedHead, len(groups))
	for i, id := range groups {
		h := &heads[i]
		h.Group = id
		if g := f.groups[id]; g != nil {
			h.GroupLoaded = true
			h.Type, h.Name, h.Join, h.Muted, h.Dismissed = g.Type, g.Name, g.Join, g.Muted, g.Dismissed
			h.Version = g.Version
			for _, m := range g.Members {
				if m.User == user {
					h.Role = m.Role
				}
			}
		}
		if s, ok := f.seqs[id]; ok {
			h.Seeded = true
			h.MaxSeq, h.LastMS, h.PersistedSeq, h.Holes = s.MaxSeq, s.LastMS, s.PersistedSeq, s.Holes
		}
		if floor, ok := f.floors[id]; ok && !h.Seeded {
			h.Seeded = true
			h.MaxSeq, h.LastMS, h.PersistedSeq, h.Holes = floor.MaxSeq, floor.LastMS, floor.MaxSeq, floor.Holes
		}
		if user != "" {
			h.ReadSeq, h.ReadLoaded = f.reads[domain.GroupUser{Group: id, User: user}]
		}
	}
	return heads, nil
}

func (f *fakeRedis) FillGroup(_ context.Context, s *domain.GroupSnapshot) error {
	unlock, err := f.enter("FillGroup")
	defer unlock()
	if old := f.groups[s.ID]; err == nil && (old == nil || old.Version <= s.Version) {
		f.groups[s.ID] = s
	}
	return err
}

func (f *fakeRedis) FillReads(_ context.Context, marks map[domain.GroupUser]int64) error {
	unlock, err := f.enter("FillReads")
	defer unlock()
	for of, seq := range marks {
		if _, in := f.reads[of]; !in && err == nil {
			f.reads[of] = seq
		}
	}
	return err
}

func (f *fakeRedis) FillFloors(_ context.Context, floors map[string]domain.Floor) error {
	unlock, err := f.enter("FillFloors")
	defer unlock()
	if err == nil {
		maps.Copy(f.floors, floors)
	}
	return err
}

func (f *fakeRedis) OwnGroups(_ context.Context, user string) ([]string, time.Duration, bool, error) {
	unlock, err := f.enter("OwnGroups")
	defer unlock()
	groups, known := f.own[user]
	return groups, f.ownAge, known, err
}

func (f *fakeRedis) RememberGroups(_ context.Context, user string, groups []string, lastNote string) error {
	unlock, err := f.enter("RememberGroups")
	defer unlock()
	if err == nil && lastNote == f.lastNote {
		f.own[user] = groups
	}
	return err
}

func (f *fakeRedis) Recent(_ context.Context, ranges []domain.Range) ([][]domain.Record, error) {
	unlock, err := f.enter("Recent")
	defer unlock()
	answers := make([][]domain.Record, len(ranges))
	for i, r := range ranges {
		answers[i] = within(f.recent[r.Group], r)
	}
	return answers, err
}

func (f *fakeRedis) Recalled(_ context.Context, groups []string) ([][]domain.Recall, error) {
	unlock, err := f.enter("Recalled")
	defer unlock()
	lists := make([][]domain.Recall, len(groups))
	for i, group := range groups {
		lists[i] = f.recalls[group]
	}
	return lists, err
}

func (f *fakeRedis) Mentions(_ context.Context, _ string, groups []string) ([]domain.FreshMentions, error) {
	unlock, err := f.enter("Mentions")
	defer unlock()
	lists := make([]domain.FreshMentions, len(groups))
	for i, group := range groups {
		lists[i] = f.mentions[group]
		lists[i].Recalled = f.recalls[group]
	}
	return lists, err
}

func (f *fakeRedis) Recall(_ context.Context, o domain.RecallOrder) (domain.RecallOutcome, error) {
	unlock, err := f.enter("Recall")
	defer unlock()
	if err != nil {
		return domain.RecallOutcome{}, err
	}
	return f.recall(o)
}

func (f *fakeRedis) MarkRead(_ context.Context, group, user string, seq, known int64, event []byte) (int64, error) {
	unlock, err := f.enter("MarkRead")
	defer unlock()
	if err != nil {
		return 0, err
	}
	of := domain.GroupUser{Group: group, User: user}
	f.reads[of] = max(f.reads[of], seq, known)
	f.told = append(f.told, "small "+group+" "+string(event))
	return f.reads[of], nil
}

func (f *fakeRedis) ReadMarksAbove(_ context.Context, group string, seq int64) (map[string]int64, error) {
	unlock, err := f.enter("ReadMarksAbove")
	defer unlock()
	marks := map[string]int64{}
	for of, mark := range f.reads {
		if of.Group == group && mark >= seq {
			marks[of.User] = mark
		}
	}
	return marks, err
}

func (f *fakeRedis) Roles(_ context.Context, group string, users []string) (map[string]domain.Role, bool, error) {
	unlock, err := f.enter("Roles")
	defer unlock()
	g := f.groups[group]
	if err != nil || g == nil {
		return nil, false, err
	}
	roles := map[string]domain.Role{}
	for _, m := range g.Members {
		if slices.Contains(users, m.User) {
			roles[m.User] = m.Role
		}
	}
	return roles, true, nil
}

func (f *fakeRedis) ToGroups(_ context.Context, groups []string, except string, event []byte) error {
	unlock, err := f.enter("ToGroups")
	defer unlock()
	f.told = append(f.told, "groups "+strings.Join(groups, ",")+" but "+except+" "+string(event))
	return err
}

func (f *fakeRedis) ToUser(_ context.Context, user, except string, event []byte) error {
	unlock, err := f.enter("ToUser")
	defer unlock()
	f.told = append(f.told, "user "+user+" but "+except+" "+string(event))
	return err
}

func (f *fakeRedis) Tell(_ context.Context, notes map[string]domain.Note) error {
	unlock, err := f.enter("Tell")
	defer unlock()
	if err != nil {
		return err
	}
	for user, note := range notes {
		f.notes[user] = append(f.notes[user], note)
	}
	return nil
}

func (f *fakeRedis) Since(context.Context, map[string]string) (map[string][]domain.Note, error) {
	return nil, errDown // the use cases do not read notes
}

func (f *fakeRedis) Changed(ctx context.Context, c *domain.GroupChange) error {
	unlock, err := f.enter("Changed")
	defer unlock()
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		f.changes = append(f.changes, c)
		delete(f.groups, c.ID)
	}
	return err
}

// take returns what was changed and told since the last time, with Redis' view of changes as JSON.
func (f *fakeRedis) take() (all [3]any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	changes, _ := json.Marshal(f.changes)
	all = [3]any{string(changes), f.notes, f.told}
	f.changes, f.notes, f.told = nil, map[string][]domain.Note{}, nil
	return all
}

// NowMS is a time of its own.
func (f *fakeRedis) NowMS(context.Context) (int64, error) {
	unlock, err := f.enter("NowMS")
	defer unlock()
	return timeOf(1000), err
}

func (f *fakeRedis) Online(_ context.Context, groups []string) (map[string]int, error) {
	unlock, err := f.enter("Online")
	defer unlock()
	online := make(map[string]int)
	for _, group := range groups {
		online[group] = f.online[group]
	}
	return online, err
}

func (f *fakeRedis) Heat(context.Context) (groups []domain.GroupHeat, nowMS int64, err error) {
	unlock, err := f.enter("Heat")
	defer unlock()
	for id, heat := range f.scores {
		if heat > 0 {
			groups = append(groups, domain.GroupHeat{Group: id, Speakers: heat, Messages: f.traffic[id], LastMS: f.seqs[id].LastMS})
		}
	}
	return groups, f.nowMS, err
}

func (f *fakeRedis) WholeHeat(context.Context) (string, error) {
	unlock, err := f.enter("WholeHeat")
	defer unlock()
	return f.whole, err
}

// fakeTurn is what instances share of one type's snapshots.
type fakeTurn struct {
	id, token         string
	fresh, kept, held time.Time // until when
}

func (f *fakeRedis) SnapshotTurn(_ context.Context, typ, token string, hold time.Duration) (turn domain.SnapshotTurn, err error) {
	unlock, err := f.enter("SnapshotTurn")
	defer unlock()
	shared, now := f.turn(typ), time.Now()
	if err != nil || now.Before(shared.fresh) {
		return domain.SnapshotTurn{ID: shared.id, Fresh: true}, err
	}
	if now.Before(shared.kept) {
		turn.ID = shared.id
	}
	if token != "" && (shared.token == token || !now.Before(shared.held)) {
		shared.token, shared.held, turn.Mine = token, now.Add(hold), true
	}
	return turn, nil
}

func (f *fakeRedis) turn(typ string) *fakeTurn {
	if f.turns[typ] == nil {
		f.turns[typ] = &fakeTurn{}
	}
	return f.turns[typ]
}

func (f *fakeRedis) SaveSnapshot(_ context.Context, typ, token string, s domain.HotSnapshot, fresh, kept time.Duration) (string, error) {
	unlock, err := f.enter("SaveSnapshot")
	defer unlock()
	if err != nil {
		return "", err
	}
	shared, now := f.turn(typ), time.Now()
	f.snapshots[typ+"/"+s.ID] = fakeSnapshot{s, now.Add(kept)}
	if !now.Before(shared.fresh) {
		shared.id, shared.fresh, shared.kept = s.ID, now.Add(fresh), now.Add(kept)
	}
	if shared.token == token {
		shared.held = now
	}
	return shared.id, nil
}

func (f *fakeRedis) NoSnapshot(_ context.Context, typ, token string) error {
	unlock, err := f.enter("NoSnapshot")
	defer unlock()
	if shared := f.turn(typ); shared.token == token {
		shared.held = time.Now()
	}
	return err
}

type fakeSnapshot struct {
	domain.HotSnapshot
	kept time.Time
}

func (f *fakeRedis) SnapshotPage(_ context.Context, typ, id string, from, limit int, paging time.Duration) (domain.HotSnapshot, int, bool, error) {
	unlock, err := f.enter("SnapshotPage")
	defer unlock()
	kept, ok := f.snapshots[typ+"/"+id]
	if !time.Now().Before(kept.kept) {
		return domain.HotSnapshot{}, 0, false, err
	}
	s, total := kept.HotSnapshot, len(kept.Entries)
	if from == 0 {
		if until := time.Now().Add(paging); until.After(kept.kept) {
			kept.kept = until
		}
		f.snapshots[typ+"/"+id] = kept
	}
	from = min(from, total)
	s.Entries = slices.Clone(s.Entries[from:min(from+limit, total)])
	return s, total, ok, err
}

func (f *fakeRedis) Speakers(_ context.Context, groups []string) (speakers []domain.Speaker, err error) {
	unlock, err := f.enter("Speakers")
	defer unlock()
	for _, group := range groups {
		for i := range f.scores[group] {
			speakers = append(speakers, domain.Speaker{Group: group, User: fmt.Sprint("u", i), TimeMS: timeOf(int64(9 - i))})
		}
	}
	return speakers, err
}

func (f *fakeRedis) Traffic(_ context.Context, groups []string) (map[string]int, error) {
	unlock, err := f.enter("Traffic")
	defer unlock()
	messages := make(map[string]int)
	for _, group := range groups {
		messages[group] = f.traffic[group]
	}
	return messages, err
}

// SetSeeds makes the fake a domain.SeedCache.
func (f *fakeRedis) SetSeeds(_ context.Context, _ int, _ int64, seeds map[string]domain.Seed) error {
	unlock, err := f.enter("SetSeeds")
	defer unlock()
	if err == nil {
		f.seeds = seeds
	}
	return err
}

// fakePartition is one partition's generation in MySQL and in Redis; tests change it between calls.
type fakePartition struct {
	mu      sync.Mutex // guards all below
	row     domain.Generation
	redis   domain.Observed
	log     []string // what was called, in order
	fail    map[string]error
	refuse  bool          // SetGeneration finds itself overtaken
	waiting []string      // instances that have not flushed
	flushed []int64       // generations before which all was flushed
	onFlush func()        // when set, called before Flush is done
	blocked chan struct{} // when set, store Renew waits for it to close
}

func (f *fakePartition) did(what string) error {
	f.log = append(f.log, what)
	return f.fail[what]
}

func (f *fakePartition) Observe(context.Context, int) (domain.Observed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.redis, f.did("observe")
}

func (f *fakePartition) SetGeneration(_ context.Context, _ int, gen int64, identity string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.did("set"); err != nil || f.refuse || identity != f.redis.Identity || gen < f.redis.Gen {
		return false, err
	}
	f.redis.Gen, f.redis.Server = gen, identity
	return true, nil
}

func (f *fakePartition) Renew(ctx context.Context, _ int, observe func(context.Context) (domain.Observed, error)) (domain.Generation, error) {
	if f.blocked != nil {
		<-f.blocked
	}
	seen, err := observe(ctx)
	if err != nil {
		return domain.Generation{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.did("renew"); err != nil {
		return domain.Generation{}, err
	}
	if !f.row.Agrees(seen) {
		f.row.Gen, f.row.Server = max(f.row.Gen, seen.Gen)+1, seen.Identity
	}
	return f.row, nil
}

func (f *fakePartition) Flush(_ context.Context, _ int, gen int64) error {
	if f.onFlush != nil {
		f.onFlush()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.did("flush")
	if err == nil {
		f.flushed = append(f.flushed, gen)
	}
	return err
}

func (f *fakePartition) Unflushed(context.Context, int, int64) (domain.Generation, []string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.row, f.waiting, f.did("wait")
}

func (f *fakePartition) Drain(context.Context, int, int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.did("drain")
}

func (f *fakePartition) Settle(_ context.Context, _ int, gen int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.did("settle"); err != nil {
		return err
	}
	f.row.Settled = max(f.row.Settled, gen)
	return nil
}

// set changes the partition while it is in use.
func (f *fakePartition) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakePartition) count(what string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, did := range f.log {
		if did == what {
			n++
		}
	}
	return n
}

// fakeAppender is one Redis that accepts everything, remembers idempotency keys, and answers at once.
type fakeAppender struct {
	mu      sync.Mutex // guards all below
	appends []domain.Append
	first   map[string]fakeFirst // by idempotency key
	seq     map[string]int64
	// persisted tells PersistedSeq of an answer; nil: 0.
	persisted func(seq int64) int64
	err       error
}

type fakeFirst struct {
	hash     string
	accepted domain.Accepted
}

func (f *fakeAppender) Append(a domain.Append, done func(domain.Accepted, error)) {
	done(f.accept(a))
}

func (f *fakeAppender) accept(a domain.Append) (domain.Accepted, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.appends = append(f.appends, a)
	if f.err != nil {
		return domain.Accepted{}, f.err
	}
	if first, ok := f.first[a.Dedupe]; ok {
		if first.hash[1:] != a.Hash[1:] { // as the script compares them
			return domain.Accepted{}, domain.Errorf(domain.CodeConflict, "other content")
		}
		first.accepted.Duplicate = true
		return first.accepted, nil
	}
	if a.Refused != nil {
		return domain.Accepted{}, a.Refused
	}
	if f.seq == nil {
		f.seq, f.first = map[string]int64{}, map[string]fakeFirst{}
	}
	f.seq[a.Group]++
	got := domain.Accepted{Group: a.Group, Gen: 1, Seq: f.seq[a.Group], TimeMS: timeOf(f.seq[a.Group])}
	if f.persisted != nil {
		got.PersistedSeq = f.persisted(got.Seq)
	}
	f.first[a.Dedupe] = fakeFirst{a.Hash, got}
	return got, nil
}

// world is the use cases over one fake MySQL and one fake Redis.
type world struct {
	mysql   *fakeMySQL
	redis   *fakeRedis
	heads   *domain.Heads
	history *domain.History
	groups  *domain.Groups
	ranking *domain.Ranking
}

func newWorld() *world {
	w := &world{mysql: newFakeMySQL(), redis: newFakeRedis()}
	made := 0
	w.heads = domain.NewHeads(w.redis, w.mysql)
	w.history = domain.NewHistory(w.heads, w.redis, w.mysql, w.redis, w.redis, w.redis)
	w.groups = domain.NewGroups(w.mysql, w.redis, w.redis, w.heads, func() string { made++; return "made-" + strconv.Itoa(made) })
	w.ranking = domain.NewRanking(w.redis, w.heads, domain.RankingConfig{SnapshotTTL: 2 * time.Second})
	return w
}

// add puts a group into MySQL; members are "user" or "user:role".
func (w *world) add(g domain.Group, members ...domain.Membership) {
	if g.Join == "" {
		g.Join = domain.JoinInvite
		if g.Type == domain.Room {
			g.Join = domain.JoinOpen
		}
	}
	w.mysql.groups[g.ID] = &g
	w.mysql.members[g.ID] = map[string]domain.Membership{}
	for _, m := range members {
		w.mysql.members[g.ID][m.User] = m
	}
}

// store puts messages into MySQL, accept into Redis alone; holes into both.
func (w *world) store(group string, seqs ...int64) {
	w.mysql.rows[group] = insert(w.mysql.rows[group], group, seqs)
}

func (w *world) accept(group string, seqs ...int64) {
	w.redis.recent[group] = insert(w.redis.recent[group], group, seqs)
}

func (w *world) hole(group string, holes ...domain.Hole) {
	w.mysql.holes[group] = append(w.mysql.holes[group], holes...)
}

// seed tells Redis the group's numbers.
func (w *world) seed(group string, maxSeq, persisted int64) {
	w.redis.seqs[group] = fakeSeqs{MaxSeq: maxSeq, LastMS: timeOf(maxSeq), PersistedSeq: persisted, Holes: w.mysql.holes[group]}
}

func insert(records []domain.Record, group string, seqs []int64) []domain.Record {
	for _, seq := range seqs {
		records = append(records, record(group, seq))
	}
	sort.Slice(records, func(i, j int) bool { return records[i].Seq < records[j].Seq })
	return records
}

func as(role domain.Role, user string) domain.Membership {
	return domain.Membership{User: user, Role: role}
}

func user(id string) domain.Actor { return domain.Actor{User: id} }

var server = domain.Actor{Key: "backend-1"}

// timeOf is when the message with this seq was accepted.
func timeOf(seq int64) int64 { return 1_700_000_000_000 + seq*1000 }

func record(group string, seq int64) domain.Record {
	m := domain.Message{
		Group: group, Seq: seq, TimeMS: timeOf(seq),
		Header: domain.Header{From: "ann"},
		Body:   []byte(`[{"type":"text","text":"hi"}]`),
	}
	return m.Record()
}

// tombstone is what recall leaves of record.
func tombstone(group string, seq int64) domain.Record {
	m := domain.Message{
		Group: group, Seq: seq, TimeMS: timeOf(seq),
		Header: domain.Header{From: "ann", RecalledMS: timeOf(seq) + 1, RecalledBy: "ann"},
	}
	return m.Record()
}

func seqsOf(records []domain.Record) []int64 {
	seqs := make([]int64, 0, len(records))
	for _, r := range records {
		seqs = append(seqs, r.Seq)
	}
	return seqs
}

// span is from, from+1, …, to.
func span(from, to int64) []int64 {
	seqs := make([]int64, 0, max(0, to-from+1))
	for seq := from; seq <= to; seq++ {
		seqs = append(seqs, seq)
	}
	return seqs
}
