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
			if results[i].Err == nil && results[i].Role != Outsider && results[i].Role != BlockedIn {
				heads = append(heads, results[i].Head)
			}
		}
	}
	sort.Slice(heads, func(i, j int) bool { return activityOf(&heads[i]).before(&heads[j]) })
	return heads, nil
}

// groupsOf is the list from the cache while it is fresh, from MySQL, or from the cache again while MySQL is away.
func (h *History) groupsOf(ctx context.Context, user, lastNote string) ([]string, error) {
	cached, age, known, err := h.own.OwnGroups(ctx, user)
	if err != nil {
		return nil, Unavailable(fmt.Errorf("groups of a user: %w", err), "Redis")
	}
	if known && age < ownGroupsFresh {
		return cached, nil
	}
	groups, err := h.store.GroupsOf(ctx, user, "", 0)
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
