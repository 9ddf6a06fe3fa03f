package domain

import (
	"context"
	"fmt"
	"slices"
)

// Head is a group's numbers and standing as one user meets them.
type Head struct {
	Group        string
	Type         GroupType
	Name         string
	Join         string
	Muted        bool
	Dismissed    bool
	Version      int64 // of the group and its members; 0 while MySQL was not asked or Redis does not know it
	Role         Role
	MaxSeq       int64 // highest seq given; 0 before the first message
	LastMS       int64 // time of the last message; 0 before the first, and in a quiet group of which none is left
	PersistedSeq int64 // every message up to here is committed in MySQL
	ReadSeq      int64
	Holes        Holes // all holes up to MaxSeq
}

// MinSeq is the lowest seq that may still have a message.
func (h *Head) MinSeq() int64 { return h.Holes.MinSeq() }

// Unread is the number of messages above ReadSeq.
func (h *Head) Unread() int64 {
	return max(0, h.MaxSeq-h.ReadSeq-h.Holes.Count(h.ReadSeq, h.MaxSeq))
}

// CachedHead is what Redis knows of a Head, and which parts it does not know.
type CachedHead struct {
	Head
	GroupLoaded bool // Type … Role are known
	Seeded      bool // MaxSeq, LastMS, PersistedSeq, Holes are known, from this generation or a cached floor
	ReadLoaded  bool // ReadSeq is known
}

// Floor is what MySQL knows of a group's seqs while no generation has seeded it in Redis.
type Floor struct {
	MaxSeq int64 // highest seq accounted for by a row, a hole or a seed
	LastMS int64
	Holes  Holes
}

// GroupUser names one read mark.
type GroupUser struct{ Group, User string }

// HeadCache is the Redis side of heads.
type HeadCache interface {
	// Heads answers for each group in order; user "" asks for nobody's role and read mark.
	Heads(ctx context.Context, user string, groups []string) ([]CachedHead, error)
	// FillGroup caches a group; a snapshot older than what the cache knows of is refused in silence.
	FillGroup(ctx context.Context, s *GroupSnapshot) error
	// FillReads caches read marks that MySQL knows; marks already in the cache stay.
	FillReads(ctx context.Context, marks map[GroupUser]int64) error
	// FillFloors caches the numbers of groups that are not seeded; they hold until then.
	FillFloors(ctx context.Context, floors map[string]Floor) error
	// Roles are the places of users in a group; loaded is false when the cache does not know the group.
	Roles(ctx context.Context, group string, users []string) (roles map[string]Role, loaded bool, err error)
}

// HeadStore is the MySQL side of heads.
type HeadStore interface {
	// Snapshot reads a group and its members at one version; not_found when there is none.
	Snapshot(ctx context.Context, group string) (*GroupSnapshot, error)
	// LiveTypes has those of the groups that there are and that were not dismissed.
	LiveTypes(ctx context.Context, groups []string) (map[string]GroupType, error)
	// Floors has an entry for every group asked for.
	Floors(ctx context.Context, groups []string) (map[string]Floor, error)
	// ReadMarks has 0 for marks that were never set.
	ReadMarks(ctx context.Context, marks []GroupUser) (map[GroupUser]int64, error)
}

// Heads reads heads from Redis and fills in from MySQL, once, what Redis has lost or never had.
type Heads struct {
	cache HeadCache
	store HeadStore
}

// NewHeads puts the two sides together.
func NewHeads(cache HeadCache, store HeadStore) *Heads { return &Heads{cache: cache, store: store} }

// HeadResult is one group's head, or why it has none (not_found, gone).
type HeadResult struct {
	Head
	Err error
}

// Get answers for each group in order. An error of the call is a store that could not be reached.
func (h *Heads) Get(ctx context.Context, user string, groups []string) ([]HeadResult, error) {
	cached, err := h.cache.Heads(ctx, user, groups)
	if err != nil {
		return nil, Unavailable(fmt.Errorf("heads of %d groups: %w", len(groups), err), "Redis")
	}
	results := make([]HeadResult, len(cached))
	for i := range cached {
		if !cached[i].GroupLoaded {
			if err := h.load(ctx, user, &cached[i].Head); err != nil {
				if code := CodeOf(err); code != CodeNotFound {
					return nil, err
				}
				results[i].Err = err
			}
		}
		if cached[i].Dismissed { // before its numbers are brought back into Redis, which has forgotten them
			results[i].Err = Errorf(CodeGone, "the group was dismissed")
		}
	}
	if err := h.fillSeqs(ctx, cached, results); err != nil {
		return nil, err
	}
	if err := h.fillReads(ctx, user, cached, results); err != nil {
		return nil, err
	}
	for i := range cached {
		results[i].Head = cached[i].Head
	}
	return results, nil
}

// Brief is Get for the ranking, which asks of very many groups: what their types are, and when the last message was. MySQL is
// asked of all together that Redis does not know, and no group is loaded with its members.
func (h *Heads) Brief(ctx context.Context, groups []string) ([]HeadResult, error) {
	cached, err := h.cache.Heads(ctx, "", groups)
	if err != nil {
		return nil, Unavailable(fmt.Errorf("heads of %d groups: %w", len(groups), err), "Redis")
	}
	if err := h.fillTypes(ctx, cached); err != nil {
		return nil, err
	}
	results := make([]HeadResult, len(cached))
	for i := range cached {
		if cached[i].Dismissed || cached[i].Type == "" {
			results[i].Err = Errorf(CodeGone, "there is no such group any more")
		}
	}
	if err := h.fillSeqs(ctx, cached, results); err != nil {
		return nil, err
	}
	for i := range cached {
		results[i].Head = cached[i].Head
	}
	return results, nil
}

// fillTypes leaves the types of groups empty that are not there, or were dismissed.
func (h *Heads) fillTypes(ctx context.Context, cached []CachedHead) error {
	var groups []string
	for i := range cached {
		if !cached[i].GroupLoaded {
			groups = append(groups, cached[i].Group)
		}
	}
	if len(groups) == 0 {
		return nil
	}
	types, err := h.store.LiveTypes(ctx, groups)
	if err != nil {
		return Unavailable(fmt.Errorf("types of %d groups: %w", len(groups), err), "MySQL")
	}
	for i := range cached {
		if !cached[i].GroupLoaded {
			cached[i].Type = types[cached[i].Group]
		}
	}
	return nil
}

// One is Get for one group.
func (h *Heads) One(ctx context.Context, user, group string) (*Head, error) {
	results, err := h.Get(ctx, user, []string{group})
	if err != nil {
		return nil, err
	}
	if results[0].Err != nil {
		return nil, results[0].Err
	}
	return &results[0].Head, nil
}

// Roles are the places of users in a group; outsiders are left out.
func (h *Heads) Roles(ctx context.Context, group string, users []string) (map[string]Role, error) {
	if len(users) == 0 {
		return nil, nil
	}
	roles, loaded, err := h.cache.Roles(ctx, group, users)
	if err != nil {
		return nil, Unavailable(fmt.Errorf("roles in %s: %w", group, err), "Redis")
	}
	if loaded {
		return roles, nil
	}
	snapshot, err := h.Load(ctx, group)
	if err != nil {
		return nil, err
	}
	roles = make(map[string]Role, len(users))
	for _, m := range snapshot.Members {
		if slices.Contains(users, m.User) {
			roles[m.User] = m.Role
		}
	}
	return roles, nil
}

// Load brings a group from MySQL into the cache.
func (h *Heads) Load(ctx context.Context, group string) (*GroupSnapshot, error) {
	snapshot, err := h.store.Snapshot(ctx, group)
	if err != nil {
		if CodeOf(err) == CodeNotFound {
			return nil, err
		}
		return nil, Unavailable(err, "MySQL")
	}
	if err := h.cache.FillGroup(ctx, snapshot); err != nil {
		return nil, Failed(fmt.Errorf("fill group %s: %w", group, err), "Redis")
	}
	return snapshot, nil
}

func (h *Heads) load(ctx context.Context, user string, head *Head) error {
	s, err := h.Load(ctx, head.Group)
	if err != nil {
		return err
	}
	head.Type, head.Name, head.Join, head.Muted, head.Dismissed = s.Type, s.Name, s.Join, s.Muted, s.Dismissed
	head.Version = s.Version
	for _, m := range s.Members {
		if m.User == user {
			head.Role = m.Role
		}
	}
	return nil
}

func (h *Heads) fillSeqs(ctx context.Context, cached []CachedHead, results []HeadResult) error {
	var groups []string
	for i := range cached {
		if results[i].Err == nil && !cached[i].Seeded {
			groups = append(groups, cached[i].Group)
		}
	}
	if len(groups) == 0 {
		return nil
	}
	floors, err := h.store.Floors(ctx, groups)
	if err != nil {
		return Unavailable(fmt.Errorf("floors of %d groups: %w", len(groups), err), "MySQL")
	}
	if err := h.cache.FillFloors(ctx, floors); err != nil {
		return Failed(fmt.Errorf("fill %d floors: %w", len(floors), err), "Redis")
	}
	for i := range cached {
		if results[i].Err == nil && !cached[i].Seeded {
			floor := floors[cached[i].Group]
			cached[i].MaxSeq, cached[i].LastMS, cached[i].Holes = floor.MaxSeq, floor.LastMS, floor.Holes
			cached[i].PersistedSeq = floor.MaxSeq
		}
	}
	return nil
}

func (h *Heads) fillReads(ctx context.Context, user string, cached []CachedHead, results []HeadResult) error {
	if user == "" {
		return nil
	}
	var missing []GroupUser
	for i := range cached {
		if results[i].Err == nil && !cached[i].ReadLoaded {
			missing = append(missing, GroupUser{cached[i].Group, user})
		}
	}
	if len(missing) == 0 {
		return nil
	}
	marks, err := h.store.ReadMarks(ctx, missing)
	if err != nil {
		return Unavailable(fmt.Errorf("read marks of %d groups: %w", len(missing), err), "MySQL")
	}
	if err := h.cache.FillReads(ctx, marks); err != nil {
		return Failed(fmt.Errorf("fill %d read marks: %w", len(marks), err), "Redis")
	}
	for i := range cached {
		if results[i].Err == nil && !cached[i].ReadLoaded {
			cached[i].ReadSeq = marks[GroupUser{cached[i].Group, user}]
		}
	}
	return nil
}
