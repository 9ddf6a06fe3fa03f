package redisrepo

import (
	"context"
	"fmt"
	"strconv"

	"hearth/domain"
)

// FillGroup caches a group and its members, unless a newer version is known.
func (s *Store) FillGroup(ctx context.Context, g *domain.GroupSnapshot) error {
	p, gen := s.of(g.ID)
	args := make([]any, 0, 7+2*len(g.Members))
	args = append(args, gen, g.Version, string(g.Type), flags(&g.Group), g.Join, g.Name, dismissedTTL.Milliseconds())
	for _, m := range g.Members {
		args = append(args, m.User, memberValue(m))
	}
	err := s.run(ctx, fillScript, []string{genKey(p), groupKey(p, g.ID)}, args...).Err()
	if err != nil {
		return fmt.Errorf("fill group %s: %w", g.ID, orFull(err))
	}
	return nil
}

// flags are one letter each: d dismissed, m muted.
func flags(g *domain.Group) string {
	s := ""
	if g.Dismissed {
		s += "d"
	}
	if g.Muted {
		s += "m"
	}
	return s
}

func memberValue(m domain.Membership) string {
	return string(m.Role) + ":" + strconv.FormatInt(m.MuteUntilMS, 10)
}

// Changed brings a change to the cached group and tells its notices; see domain.GroupCache.
func (s *Store) Changed(ctx context.Context, c *domain.GroupChange) error {
	p, gen := s.of(c.ID)
	keys := []string{groupKey(p, c.ID), readKey(p, gen, c.ID), heatKey(p), dismissedKey(p)}
	version := strconv.FormatInt(c.Version, 10)
	if c.Raised {
		version += "+"
	}
	args := []any{c.ID, gen, version, string(c.Type), flags(&c.Group), c.Join, c.Name, len(c.Put), len(c.Removed), len(c.Joined), groupChannel(p, c.ID)}
	for _, m := range c.Put {
		args = append(args, m.User, memberValue(m))
	}
	for _, user := range c.Removed {
		args = append(args, user)
	}
	for _, user := range c.Joined {
		args = append(args, user)
	}
	for _, n := range c.Notices {
		args = append(args, noticePayload(n))
	}
	if err := s.run(ctx, changeScript, keys, args...).Err(); err != nil {
		return fmt.Errorf("change of group %s: %w", c.ID, err)
	}
	return nil
}
