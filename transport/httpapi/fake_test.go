package httpapi

import (
	"context"
	"errors"
	"slices"
	"sort"
	"sync"
	"time"

	"hearth/domain"
)

var errAway = errors.New("connection refused")

// fake is all of domain's stores, in memory.
type fake struct {
	mu       sync.Mutex // guards all below; never held while a done is called
	groups   map[string]*domain.Group
	members  map[string]map[string]domain.Membership
	messages map[string][]domain.Record
	reads    map[domain.GroupUser]int64
	sends    map[string]sentOnce
	saved    map[string]domain.HotSnapshot
	appended []domain.Append
	online   map[string]domain.Presence
	notes    []map[string]domain.Note
	signals  []domain.Signal
	recalls  []domain.Recall
	told     []string // users that the bus was to tell something

	down      error // what every store answers, if set
	appendErr error // what every append answers, if set
	silent    bool  // appends are never answered
	commit    bool  // messages are committed at once
	panics    bool
	hangs     bool // lists of groups do not come
}

type sentOnce struct {
	hash     string
	accepted domain.Accepted
}

func newFake() *fake {
	return &fake{
		groups: map[string]*domain.Group{}, members: map[string]map[string]domain.Membership{},
		messages: map[string][]domain.Record{}, reads: map[domain.GroupUser]int64{},
		sends: map[string]sentOnce{}, saved: map[string]domain.HotSnapshot{},
	}
}

// change runs f alone; tests set switches with it.
func (f *fake) change(do func(*fake)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do(f)
}

func (f *fake) newID() string { return "made-1" }

func (f *fake) find(group string) (*domain.Group, error) {
	if f.panics {
		panic("a bug with SECRETVALUE")
	}
	if f.down != nil {
		return nil, f.down
	}
	g := f.groups[group]
	if g == nil {
		return nil, domain.Errorf(domain.CodeNotFound, "there is no such group")
	}
	return g, nil
}

func (f *fake) Create(_ context.Context, g domain.Group, members []string, _ domain.Tell) (*domain.GroupChange, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if old, err := f.find(g.ID); err == nil {
		if old.Dismissed {
			return nil, domain.Errorf(domain.CodeGone, "the group was dismissed")
		}
		return nil, domain.Errorf(domain.CodeConflict, "the id is in use")
	} else if domain.CodeOf(err) != domain.CodeNotFound {
		return nil, err
	}
	g.CreatedMS = 1000
	f.groups[g.ID] = &g
	f.members[g.ID] = map[string]domain.Membership{}
	if g.Owner != "" {
		f.members[g.ID][g.Owner] = domain.Membership{User: g.Owner, Role: domain.Owner, JoinedMS: 1000}
	}
	f.put(g.ID, members)
	return &domain.GroupChange{Group: g, Created: true}, nil
}

func (f *fake) put(group string, users []string) (put []domain.Membership) {
	in := f.members[group]
	for _, user := range users {
		if _, ok := in[user]; !ok {
			in[user] = domain.Membership{User: user, Role: domain.Member, JoinedMS: 1000}
		}
		put = append(put, in[user])
	}
	f.groups[group].MemberCount = len(in)
	return put
}

func (f *fake) Group(_ context.Context, group string) (*domain.Group, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g, err := f.find(group)
	if err != nil {
		return nil, err
	}
	found := *g
	return &found, nil
}

func (f *fake) Groups(ctx context.Context, user, after string, limit int) (list []domain.Group, err error) {
	f.mu.Lock()
	hangs := f.hangs
	f.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, g := range f.groups {
		_, in := f.members[id][user]
		if id > after && !g.Dismissed && (user == "" || in) {
			list = append(list, *g)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].ID < list[j].ID })
	return list[:min(limit, len(list))], f.down
}

func (f *fake) AddMembers(_ context.Context, group string, users []string, _ int64, _ domain.Tell) (*domain.GroupChange, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &domain.GroupChange{Group: *f.groups[group], Put: f.put(group, users)}, f.down
}

func (f *fake) ChangeMember(
	_ context.Context, group, actor, user string, decide domain.Decide, _ domain.Tell,
) (*domain.GroupChange, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	is, err := decide(f.groups[group], f.members[group][actor], f.members[group][user])
	if err != nil {
		return nil, err
	}
	f.members[group][user] = is
	if is.Role == domain.Outsider {
		delete(f.members[group], user)
	}
	return &domain.GroupChange{Group: *f.groups[group], Raised: true, Put: []domain.Membership{is}}, f.down
}

func (f *fake) Update(_ context.Context, group string, change func(*domain.Group), _ domain.Tell) (*domain.GroupChange, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f.groups[group])
	return &domain.GroupChange{Group: *f.groups[group], Raised: true}, f.down
}

func (f *fake) NowMS(context.Context) (int64, error) { return 5000, f.down }

func (f *fake) Dismiss(_ context.Context, group string, _ domain.Tell) (*domain.GroupChange, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.groups[group].Dismissed = true
	return &domain.GroupChange{Group: *f.groups[group]}, f.down
}

func (f *fake) Members(_ context.Context, group, after string, limit int) (list []domain.Membership, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for user, m := range f.members[group] {
		if user > after {
			list = append(list, m)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].User < list[j].User })
	return list[:min(limit, len(list))], f.down
}

func (f *fake) Member(_ context.Context, group, user string) (domain.Membership, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.members[group][user], f.down
}

func (f *fake) Applied(context.Context, *domain.GroupChange) error { return nil }

func (f *fake) Changed(context.Context, *domain.GroupChange) error { return nil }

func (f *fake) Online(_ context.Context, groups []string) (map[string]int, error) {
	return map[string]int{"lobby": 3}, nil
}

func (f *fake) Heads(_ context.Context, user string, groups []string) ([]domain.CachedHead, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	heads := make([]domain.CachedHead, len(groups))
	for i, id := range groups {
		heads[i].Group = id
		g, err := f.find(id)
		if domain.CodeOf(err) == domain.CodeNotFound {
			continue
		} else if err != nil {
			return nil, err
		}
		heads[i] = domain.CachedHead{GroupLoaded: true, Seeded: true, ReadLoaded: true, Head: domain.Head{
			Group: id, Type: g.Type, Name: g.Name, Join: g.Join, Dismissed: g.Dismissed,
			Role: f.members[id][user].Role, ReadSeq: f.reads[domain.GroupUser{Group: id, User: user}],
			MaxSeq: int64(len(f.messages[id])), LastMS: int64(len(f.messages[id])),
		}}
	}
	return heads, nil
}

func (f *fake) FillGroup(context.Context, *domain.GroupSnapshot) error { return nil }

func (f *fake) FillReads(context.Context, map[domain.GroupUser]int64) error { return nil }

func (f *fake) FillFloors(context.Context, map[string]domain.Floor) error { return nil }

func (f *fake) Snapshot(context.Context, string) (*domain.GroupSnapshot, error) {
	return nil, domain.Errorf(domain.CodeNotFound, "there is no such group")
}

func (f *fake) LiveTypes(context.Context, []string) (map[string]domain.GroupType, error) {
	return nil, nil
}

func (f *fake) Floors(context.Context, []string) (map[string]domain.Floor, error) { return nil, nil }

func (f *fake) ReadMarks(context.Context, []domain.GroupUser) (map[domain.GroupUser]int64, error) {
	return nil, nil
}

func (f *fake) Recalled(_ context.Context, groups []string) ([][]domain.Recall, error) {
	return make([][]domain.Recall, len(groups)), nil
}

func (f *fake) Mentions(_ context.Context, _ string, groups []string) ([]domain.FreshMentions, error) {
	return make([]domain.FreshMentions, len(groups)), nil
}

func (f *fake) Mentioned(context.Context, string, []domain.Range) (map[string]int64, error) {
	return nil, nil
}

func (f *fake) RecalledSince(_ context.Context, afterMS int64, upTo map[string]int64, _ int) (map[string][]domain.Recall, []string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	found := map[string][]domain.Recall{}
	for group, last := range upTo {
		for _, r := range f.recalls {
			if r.Group == group && r.Seq <= last && r.TimeMS > afterMS {
				found[group] = append(found[group], r)
			}
		}
	}
	return found, nil, nil
}

func (f *fake) Recall(_ context.Context, o domain.RecallOrder) (domain.RecallOutcome, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if o.Seq == 404 {
		return domain.RecallOutcome{}, domain.Errorf(domain.CodeNotFound, "there is no message with this seq")
	}
	f.recalls = append(f.recalls, domain.Recall{Group: o.Group, Seq: o.Seq, TimeMS: 1_700_000_000_000, By: o.Actor.User})
	return domain.RecallOutcome{}, nil
}

func (f *fake) Recent(_ context.Context, ranges []domain.Range) ([][]domain.Record, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([][]domain.Record, len(ranges))
	for i, r := range ranges {
		for _, m := range f.messages[r.Group] {
			if m.Seq >= r.From && m.Seq <= r.To {
				out[i] = append(out[i], m)
			}
		}
		if extra := len(out[i]) - r.Limit; extra > 0 && r.Last {
			out[i] = out[i][extra:]
		} else if extra > 0 {
			out[i] = out[i][:r.Limit]
		}
	}
	return out, f.down
}

func (f *fake) Messages(context.Context, domain.Range) ([]domain.Record, error) { return nil, f.down }

func (f *fake) Holes(context.Context, string) (domain.Holes, error) { return nil, f.down }

func (f *fake) LastSeqBefore(context.Context, string, int64) (int64, error) { return 0, f.down }

func (f *fake) GroupsOf(_ context.Context, user, _ string, _ int) (list []string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id := range f.groups {
		if _, in := f.members[id][user]; in {
			list = append(list, id)
		}
	}
	return list, f.down
}

func (f *fake) MarkRead(_ context.Context, group, user string, seq, _ int64, _ []byte) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads[domain.GroupUser{Group: group, User: user}] = seq
	return seq, f.down
}

func (f *fake) ReadMarksAbove(_ context.Context, group string, seq int64) (map[string]int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	marks := map[string]int64{}
	for mark, read := range f.reads {
		if mark.Group == group && read >= seq {
			marks[mark.User] = read
		}
	}
	return marks, f.down
}

// Readers has none but those who are pending: all marks are in Redis here.
func (f *fake) Readers(_ context.Context, q domain.ReaderQuery) (int, []string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	users := slices.DeleteFunc(slices.Sorted(slices.Values(q.Pending)), func(user string) bool {
		_, in := f.members[q.Group][user]
		return user == q.Without || q.Members && !in
	})
	if len(users) > q.Names {
		return len(users), nil, f.down
	}
	return len(users), users, f.down
}

func (f *fake) OwnGroups(context.Context, string) ([]string, time.Duration, bool, error) {
	return nil, 0, false, f.down
}

func (f *fake) RememberGroups(context.Context, string, []string, string) error { return f.down }

func (f *fake) Roles(_ context.Context, group string, users []string) (map[string]domain.Role, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	roles := map[string]domain.Role{}
	for _, user := range users {
		if m, in := f.members[group][user]; in {
			roles[user] = m.Role
		}
	}
	return roles, true, f.down
}

func (f *fake) Enter(context.Context, domain.Session, domain.SessionPolicy) (domain.Admission, error) {
	return domain.Admission{}, errors.New("not asked by HTTP")
}

func (f *fake) Leave(context.Context, domain.Session) (bool, error) {
	return false, errors.New("not asked by HTTP")
}

func (*fake) SessionsOf(context.Context, []string) (map[string][]domain.Session, error) {
	return nil, errors.New("the API does not ask")
}

func (f *fake) Presence(_ context.Context, users []string) (map[string]domain.Presence, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	found := map[string]domain.Presence{}
	for _, user := range users {
		found[user] = f.online[user]
	}
	return found, f.down
}

func (f *fake) Tell(_ context.Context, notes map[string]domain.Note) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.notes = append(f.notes, notes)
	return f.down
}

func (f *fake) Since(context.Context, map[string]string) (map[string][]domain.Note, error) {
	return nil, errors.New("not asked by HTTP")
}

func (f *fake) ToGroups(context.Context, []string, string, []byte) error {
	return errors.New("not asked by HTTP")
}

func (f *fake) ToUser(_ context.Context, user, _ string, _ []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = append(f.told, user)
	return f.down
}

func (f *fake) Signal(_ context.Context, s domain.Signal) (domain.SignalOutcome, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g, err := f.find(s.Group)
	if err != nil {
		return domain.SignalOutcome{}, err
	}
	actor := domain.Actor{User: s.From, Key: s.Operator}
	if err := domain.Allow(actor, domain.Send, g.Type, g.Join, f.members[s.Group][s.From].Role); err != nil {
		return domain.SignalOutcome{}, err
	}
	f.signals = append(f.signals, s)
	return domain.SignalOutcome{}, nil
}

func (f *fake) Append(a domain.Append, done func(domain.Accepted, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.silent {
		return
	}
	accepted, err := f.accept(a)
	go done(accepted, err)
}

func (f *fake) accept(a domain.Append) (domain.Accepted, error) {
	f.appended = append(f.appended, a)
	if f.appendErr != nil {
		return domain.Accepted{}, f.appendErr
	}
	g, err := f.find(a.Group)
	if lower, higher, ok := domain.SplitDirect(a.Group); domain.CodeOf(err) == domain.CodeNotFound && a.Open && ok {
		g, err = &domain.Group{ID: a.Group, Type: domain.Direct}, nil
		f.groups[a.Group], f.members[a.Group] = g, map[string]domain.Membership{}
		f.put(a.Group, []string{lower, higher})
	}
	if err != nil {
		return domain.Accepted{}, err
	}
	actor := domain.Actor{User: a.From, Key: a.Operator}
	if err := domain.Allow(actor, domain.Send, g.Type, g.Join, f.members[a.Group][a.From].Role); err != nil {
		return domain.Accepted{}, err
	}
	if first, ok := f.sends[a.Dedupe]; ok {
		if first.hash != a.Hash {
			return domain.Accepted{}, domain.Errorf(domain.CodeConflict, "the client_id was used for other content")
		}
		first.accepted.Duplicate = true
		return first.accepted, nil
	}
	got := domain.Accepted{Group: a.Group, Gen: 1, Seq: int64(len(f.messages[a.Group]) + 1), TimeMS: 5000}
	if f.commit {
		got.PersistedSeq = got.Seq
	}
	tail := append([]byte(`"time_ms":5000,`), a.Header...)
	tail = append(append(append(tail, `,"body":`...), a.Body...), '}')
	f.messages[a.Group] = append(f.messages[a.Group], domain.Record{Group: a.Group, Seq: got.Seq, TimeMS: 5000, Tail: tail})
	f.sends[a.Dedupe] = sentOnce{a.Hash, got}
	return got, nil
}

func (f *fake) Heat(context.Context) (groups []domain.GroupHeat, nowMS int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, list := range f.messages {
		groups = append(groups, domain.GroupHeat{Group: id, Speakers: len(list)})
	}
	return groups, 9000, f.down
}

func (f *fake) WholeHeat(context.Context) (string, error) { return "1", f.down }

// SnapshotTurn has a snapshot taken for everybody who asks.
func (f *fake) SnapshotTurn(context.Context, string, string, time.Duration) (domain.SnapshotTurn, error) {
	return domain.SnapshotTurn{Mine: true}, f.down
}

func (f *fake) SaveSnapshot(_ context.Context, typ, _ string, s domain.HotSnapshot, _, _ time.Duration) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.saved[typ+s.ID] = s
	return s.ID, f.down
}

func (f *fake) NoSnapshot(context.Context, string, string) error { return f.down }

func (f *fake) SnapshotPage(_ context.Context, typ, id string, from, limit int, _ time.Duration) (domain.HotSnapshot, int, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.saved[typ+id]
	total := len(s.Entries)
	s.Entries = s.Entries[min(from, total):min(from+limit, total)]
	return s, total, ok, f.down
}

func (f *fake) Traffic(_ context.Context, groups []string) (map[string]int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	messages := make(map[string]int)
	for _, g := range groups {
		messages[g] = len(f.messages[g])
	}
	return messages, f.down
}

func (f *fake) Speakers(_ context.Context, groups []string) (speakers []domain.Speaker, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, g := range groups {
		if len(f.messages[g]) > 1 { // the other's have just left the window
			speakers = append(speakers, domain.Speaker{Group: g, User: "ann", TimeMS: 8000})
		}
	}
	return speakers, f.down
}
