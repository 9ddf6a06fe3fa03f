package domain

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	inspectTimeout = 2 * time.Second // for each store: one that is away must not hide what the other says
	inspectGroups  = 50              // of a user in one answer
	inspectHoles   = 1000            // of a group
	// InspectLetters is how many dead letters of a group are shown, the latest.
	InspectLetters = 1000
	// InspectRows bounds what is counted of a group: more takes MySQL too long.
	InspectRows = 1_000_000
)

// CachedGroup is what Redis has of a group, in the generation that is believed in.
type CachedGroup struct {
	CachedHead                              // without a user's part
	Partition                         int   // where it lies
	Gen                               int64 // of that partition
	RecentFrom, RecentTo, RecentCount int64 // 0: there is no recent message
	Heat                              GroupHeat
	Online                            int
}

// StoredGroup is what MySQL has of a group.
type StoredGroup struct {
	Group
	MinSeq, MaxSeq int64 // of rows; 0 without any
	Count          int64 // of rows; above InspectRows they were not counted to the end
	Holes          Holes
	DeadLetters    []int64 // seqs that MySQL has refused, the latest InspectLetters, ascending
}

// InspectCache is the Redis side of inspections. It only reads, and a bounded amount.
type InspectCache interface {
	InspectGroup(ctx context.Context, group string) (*CachedGroup, error)
	SessionsOf(ctx context.Context, users []string) (map[string][]Session, error)
	Presence(ctx context.Context, users []string) (map[string]Presence, error)
}

// InspectStore is the MySQL side of inspections.
type InspectStore interface {
	// InspectGroup: not_found when there is no such group. Dismissed ones are returned.
	InspectGroup(ctx context.Context, group string) (*StoredGroup, error)
	// GroupsOf lists up to limit of a user's groups above the id after, by id.
	GroupsOf(ctx context.Context, user, after string, limit int) ([]string, error)
}

// GroupInspection is what both stores say of a group, side by side. What is not known is nil.
type GroupInspection struct {
	Group      string    `json:"group"`
	Name       string    `json:"name"`
	Type       GroupType `json:"type"`
	Owner      string    `json:"owner,omitempty"`
	Dismissed  bool      `json:"dismissed,omitempty"`
	Members    *int      `json:"members,omitempty"`
	Online     *int      `json:"online,omitempty"`
	Heat       *int      `json:"heat,omitempty"`
	Version    int64     `json:"version,omitempty"`
	Partition  int       `json:"partition"`
	Generation int64     `json:"generation,omitempty"`

	Redis     *RedisPart `json:"redis"`     // nil: it is away, or knows nothing of the group
	MySQL     *MySQLPart `json:"mysql"`     // nil: it is away
	Unwritten *SeqRange  `json:"unwritten"` // what Redis has accepted and MySQL has not got
	Holes     Holes      `json:"holes"`     // the latest, if they are very many
	// DeadLetters are the seqs of messages that were refused and can be retried, the latest; holes lie there meanwhile.
	DeadLetters []int64 `json:"dead_letters,omitempty"`
}

// RedisPart is the numbers of a group in Redis.
type RedisPart struct {
	MaxSeq       int64 `json:"max_seq"`
	RecentFrom   int64 `json:"recent_from"`
	RecentTo     int64 `json:"recent_to"`
	RecentCount  int64 `json:"recent_count"`
	PersistedSeq int64 `json:"persisted_seq"`
}

// MySQLPart is the numbers of a group in MySQL; Count is nil for more rows than are counted.
type MySQLPart struct {
	MinSeq int64  `json:"min_seq"`
	MaxSeq int64  `json:"max_seq"`
	Count  *int64 `json:"count,omitempty"`
}

// SeqRange is messages from a seq to another, both included.
type SeqRange struct {
	From  int64 `json:"from"`
	To    int64 `json:"to"`
	Count int64 `json:"count"`
}

// UserInspection is where a user is connected and how far he has read.
type UserInspection struct {
	User        string                `json:"user"`
	Online      bool                  `json:"online"`
	LastSeenMS  int64                 `json:"last_seen_ms,omitempty"`
	Connections []InspectedConnection `json:"connections"`
	Groups      []InspectedPlace      `json:"groups"` // nil: MySQL is away
	Cursor      string                `json:"cursor,omitempty"`
}

// InspectedConnection is one of a user's.
type InspectedConnection struct {
	Conn     string `json:"conn"`
	Instance string `json:"instance"`
	Device   string `json:"device,omitempty"`
	SinceMS  int64  `json:"since_ms"`
}

// InspectedPlace is a user's place in a group.
type InspectedPlace struct {
	Group   string `json:"group"`
	Role    Role   `json:"role"`
	MaxSeq  int64  `json:"max_seq"`
	ReadSeq int64  `json:"read_seq"`
	Unread  int64  `json:"unread"`
}

// Inspector shows operators what there is of a group or a user.
type Inspector struct {
	cache      InspectCache
	store      InspectStore
	heads      *Heads
	partitions Partitions
	weights    HeatWeights
}

// NewInspector puts the two sides together. The weights are the ranking's.
func NewInspector(cache InspectCache, store InspectStore, heads *Heads, partitions Partitions, weights HeatWeights) *Inspector {
	return &Inspector{cache: cache, store: store, heads: heads, partitions: partitions, weights: weights.orSpeakersAlone()}
}

// Group shows one, also when one of the stores is away.
func (i *Inspector) Group(ctx context.Context, group string) (*GroupInspection, error) {
	if err := CheckGroup("group", group); err != nil {
		return nil, err
	}
	// Redis first: what MySQL has then is at least what Redis takes for persisted.
	cached, cacheErr := within(ctx, func(ctx context.Context) (*CachedGroup, error) { return i.cache.InspectGroup(ctx, group) })
	stored, storeErr := within(ctx, func(ctx context.Context) (*StoredGroup, error) { return i.store.InspectGroup(ctx, group) })
	inspected := &GroupInspection{Group: group, Partition: i.partitions.Of(group), Holes: Holes{}}
	if cacheErr == nil {
		inspected.takeCached(cached)
		inspected.Heat = new(int)
		if cached.Heat.Speakers > 0 { // others are not ranked
			*inspected.Heat = i.weights.heat(cached.Heat, cached.Online)
		}
	}
	if storeErr == nil {
		inspected.takeStored(stored)
	}
	switch {
	case storeErr == nil:
		return inspected, nil
	case CodeOf(storeErr) == CodeNotFound && (cacheErr != nil || !cached.GroupLoaded):
		return nil, storeErr
	case CodeOf(storeErr) == CodeNotFound: // it was restored from a backup, or somebody has deleted the row
		inspected.MySQL = &MySQLPart{Count: new(int64)}
		return inspected, nil
	case cacheErr != nil:
		return nil, Unavailable(fmt.Errorf("inspect %s: %w", group, cacheErr), "Redis")
	case !cached.GroupLoaded:
		return nil, Unavailable(fmt.Errorf("inspect %s: %w", group, storeErr), "MySQL")
	}
	return inspected, nil
}

func within[T any](ctx context.Context, ask func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	return ask(ctx)
}

func (g *GroupInspection) takeCached(c *CachedGroup) {
	g.Name, g.Type, g.Dismissed, g.Version = c.Name, c.Type, c.Dismissed, c.Version
	g.Generation, g.Online = c.Gen, &c.Online
	if !c.Seeded && c.RecentCount == 0 {
		return
	}
	g.Redis = &RedisPart{
		MaxSeq: c.MaxSeq, PersistedSeq: c.PersistedSeq, RecentFrom: c.RecentFrom, RecentTo: c.RecentTo, RecentCount: c.RecentCount,
	}
	g.takeHoles(c.Holes)
	if c.PersistedSeq < c.MaxSeq {
		g.Unwritten = &SeqRange{
			From: c.PersistedSeq + 1, To: c.MaxSeq,
			Count: c.MaxSeq - c.PersistedSeq - c.Holes.Count(c.PersistedSeq, c.MaxSeq),
		}
	}
}

func (g *GroupInspection) takeStored(s *StoredGroup) {
	g.Name, g.Type, g.Dismissed, g.Version = s.Name, s.Type, s.Dismissed, s.Version
	g.Owner, g.Members = s.Owner, &s.MemberCount
	g.MySQL = &MySQLPart{MinSeq: s.MinSeq, MaxSeq: s.MaxSeq}
	if s.Count <= InspectRows {
		g.MySQL.Count = &s.Count
	}
	g.takeHoles(s.Holes)
	g.DeadLetters = s.DeadLetters
}

func (g *GroupInspection) takeHoles(holes Holes) {
	g.Holes = append(Holes{}, holes[max(0, len(holes)-inspectHoles):]...)
}

// User shows one; cursor goes on behind the groups of an answer before.
func (i *Inspector) User(ctx context.Context, user, cursor string) (*UserInspection, error) {
	if err := CheckUser("user", user); err != nil {
		return nil, err
	}
	if cursor != "" && CheckGroup("cursor", cursor) != nil {
		return nil, BadField("cursor", "is not one that this server gave")
	}
	inspected := &UserInspection{User: user, Connections: []InspectedConnection{}}
	if err := i.connections(ctx, inspected); err != nil {
		return nil, Unavailable(fmt.Errorf("inspect %s: %w", user, err), "Redis")
	}
	groups, err := within(ctx, func(ctx context.Context) ([]string, error) {
		return i.store.GroupsOf(ctx, user, cursor, inspectGroups+1)
	})
	if err != nil { // he can be seen all the same
		return inspected, nil
	}
	if len(groups) > inspectGroups {
		groups = groups[:inspectGroups]
		inspected.Cursor = groups[inspectGroups-1]
	}
	if err := i.places(ctx, inspected, groups); err != nil {
		return nil, err
	}
	if len(groups) == 0 && cursor == "" && !inspected.Online && inspected.LastSeenMS == 0 {
		return nil, Errorf(CodeNotFound, "nobody of this id is in a group or was connected lately")
	}
	return inspected, nil
}

func (i *Inspector) connections(ctx context.Context, inspected *UserInspection) error {
	users := []string{inspected.User}
	presence, err := i.cache.Presence(ctx, users)
	if err != nil {
		return err
	}
	sessions, err := i.cache.SessionsOf(ctx, users)
	if err != nil {
		return err
	}
	inspected.Online, inspected.LastSeenMS = presence[inspected.User].Online, presence[inspected.User].LastSeenMS
	for _, s := range sessions[inspected.User] {
		inspected.Connections = append(inspected.Connections, InspectedConnection{
			Conn: s.Conn, Instance: InstanceOf(s.Instance), Device: s.Device, SinceMS: s.OpenedMS,
		})
	}
	slices.SortFunc(inspected.Connections, func(a, b InspectedConnection) int { return cmp.Compare(a.SinceMS, b.SinceMS) })
	return nil
}

func (i *Inspector) places(ctx context.Context, inspected *UserInspection, groups []string) error {
	inspected.Groups = []InspectedPlace{}
	heads, err := i.heads.Get(ctx, inspected.User, groups)
	if err != nil {
		return err
	}
	for _, h := range heads {
		if h.Err == nil {
			inspected.Groups = append(inspected.Groups, InspectedPlace{
				Group: h.Group, Role: h.Role, MaxSeq: h.MaxSeq, ReadSeq: h.ReadSeq, Unread: h.Unread(),
			})
		}
	}
	return nil
}
