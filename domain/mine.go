package domain

import (
	"context"
	"fmt"
	"sort"
	"time"
)

// ownGroupsFresh is how long the list of a user's groups is believed without asking MySQL. Every change is told to the
// cache as well; this bounds what a crash between the two costs.
const ownGroupsFresh = 10 * time.Minute

// ownGroupsPatience is how long MySQL is waited for where an older list will do: a server that hangs refuses nothing, and
// would use up all the time there is for a connect.
const ownGroupsPatience = 500 * time.Millisecond

// OwnGroups caches which groups a user is in, so that he can connect while MySQL is away.
type OwnGroups interface {
	// OwnGroups is the list and the time since MySQL gave it; known is false when there is none.
	OwnGroups(ctx context.Context, user string) (groups []string, age time.Duration, known bool, err error)
	// RememberGroups keeps a list that MySQL gave, unless the user was told of a change since the note lastNote.
	RememberGroups(ctx context.Context, user string, groups []string, lastNote string) error
}

// Mine is the heads of all the user's groups, most recently active first. lastNote is a note of his that was the last
// one before this call; "" when that is not known.
func (h *History) Mine(ctx context.Context, user, lastNote string) ([]Head, error) {
	groups, err := h.groupsOf(ctx, user, lastNote)
	if err != nil {
		return nil, err
	}
	var heads []Head
	for start := 0; start < len(groups); start += MaxSyncGroups {
		results, err := h.heads.Get(ctx, user, groups[start:min(start+MaxSyncGroups, len(groups))])
		if err != nil {
			return nil, err
		}
		for i := range results {
			if results[i].Err == nil && results[i].Role.IsMember() {
				heads = append(heads, results[i].Head)
			}
		}
	}
	sort.Slice(heads, func(i, j int) bool { return activityOf(&heads[i]).before(&heads[j]) })
	return heads, nil
}

// groupsOf is the list from the cache while it is fresh, from MySQL, or from the cache again while MySQL does not answer.
func (h *History) groupsOf(ctx context.Context, user, lastNote string) ([]string, error) {
	cached, age, known, err := h.own.OwnGroups(ctx, user)
	if err != nil {
		return nil, Unavailable(fmt.Errorf("groups of a user: %w", err), "Redis")
	}
	if known && age < ownGroupsFresh {
		return cached, nil
	}
	groups, err := h.askGroups(ctx, user, known)
	if err != nil && known {
		return cached, nil
	}
	if err != nil {
		return nil, Unavailable(fmt.Errorf("groups of a user: %w", err), "MySQL")
	}
	if lastNote != "" {
		if err := h.own.RememberGroups(ctx, user, groups, lastNote); err != nil {
			return nil, Unavailable(fmt.Errorf("remember the groups of a user: %w", err), "Redis")
		}
	}
	return groups, nil
}

// askGroups asks MySQL, and not for long when there is another list.
func (h *History) askGroups(ctx context.Context, user string, known bool) ([]string, error) {
	if known {
		short, cancel := context.WithTimeout(ctx, ownGroupsPatience)
		defer cancel()
		ctx = short
	}
	return h.store.GroupsOf(ctx, user, "", 0)
}
