package mysqlrepo

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"hearth/domain"
)

// OldGroups names the groups of the limit oldest messages with fromMS ≤ time < beforeMS, in the order of these. next is
// the time to go on from: that of the last of them, or beforeMS when there are no more.
func (d *DB) OldGroups(ctx context.Context, fromMS, beforeMS int64, limit int) (groups []string, next int64, err error) {
	// The order is that of the key msg_time, so the walk ends with the last row of the batch.
	query := "SELECT group_id, msg_time FROM group_msg WHERE msg_time>=? AND msg_time<? ORDER BY msg_time, group_id, msg_seq LIMIT ?"
	seen := make(map[string]bool)
	rows := 0
	err = each(ctx, d.sql, query, []any{fromMS, beforeMS, limit}, func(row *sql.Rows) error {
		var group string
		rows++
		err := row.Scan(&group, &next)
		if !seen[group] {
			seen[group] = true
			groups = append(groups, group)
		}
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("groups of the oldest messages: %w", err)
	}
	if rows < limit {
		next = beforeMS
	}
	return groups, next, nil
}

// Expire deletes, in one transaction, up to limit messages from the start of a group, as far as they are older than
// beforeMS; one expired hole from 1 on takes the place of all that was there, holes too. It returns how many messages
// went, and fails with ErrGeneration unless e.Gen is the partition's newest and settled.
func (d *DB) Expire(ctx context.Context, e domain.Expiry, beforeMS int64, limit int) (deleted int, err error) {
	err = d.tx(ctx, func(tx *sql.Tx) error {
		if err := d.shareSettled(ctx, tx, d.partitions.Of(e.Group), e.Gen); err != nil {
			return err
		}
		known, err := d.lockHistory(ctx, tx, e.Group)
		if err != nil {
			return err
		}
		old, err := oldestOf(ctx, tx, e, beforeMS, limit, known)
		if err != nil || old.rows == 0 {
			deleted = 0
			return err
		}
		deleted = old.rows
		if err := expireHoles(ctx, tx, e.Group, known, old.last); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM group_msg WHERE group_id=? AND msg_seq<=?", e.Group, old.last); err != nil {
			return err
		}
		if err := expireRare(ctx, tx, e.Group, old.last); err != nil {
			return err
		}
		return keepSent(ctx, tx, e.Group, old.sent)
	})
	if err != nil {
		return 0, fmt.Errorf("expire messages of %s: %w", e.Group, err)
	}
	return deleted, nil
}

// lockHistory locks a group, so that Seed, which counts rows and holes, comes before or after (see createdIn), and its
// holes, which late messages split. It returns the holes as their rows are, ascending.
func (d *DB) lockHistory(ctx context.Context, tx *sql.Tx, group string) (holes domain.Holes, err error) {
	query := "SELECT group_id FROM chat_group WHERE group_id=?" + d.dialect.forUpdate
	if err := each(ctx, tx, query, []any{group}, func(*sql.Rows) error { return nil }); err != nil {
		return nil, fmt.Errorf("lock group: %w", err)
	}
	return d.lockHoles(ctx, tx, group)
}

// oldest is what goes of a group.
type oldest struct {
	rows int
	last int64          // seq of the last of them
	sent map[string]int // of a direct conversation: how many of them the two users wrote themselves
}

// oldestOf walks the group from its start up to the first message that stays. A message that came back below the
// expired hole (a batch that was written again) goes, too, and what its sender wrote is not counted twice.
func oldestOf(ctx context.Context, tx *sql.Tx, e domain.Expiry, beforeMS int64, limit int, known domain.Holes) (oldest, error) {
	old := oldest{sent: make(map[string]int)}
	lower, higher, direct := domain.SplitDirect(e.Group)
	gone := int64(0) // up to here was deleted before
	if h, ok := known.At(1); ok && h.Reason == domain.HoleExpired {
		gone = h.To
	}
	young := false
	query := "SELECT msg_seq, msg_time, from_account, operator_account FROM group_msg WHERE group_id=? AND msg_seq<=? ORDER BY msg_seq LIMIT ?"
	err := each(ctx, tx, query, []any{e.Group, e.UpTo, limit}, func(rows *sql.Rows) error {
		var seq, timeMS int64
		var from, operator string
		if err := rows.Scan(&seq, &timeMS, &from, &operator); err != nil {
			return err
		}
		if young = young || timeMS >= beforeMS; young {
			return nil
		}
		old.rows, old.last = old.rows+1, seq
		if direct && operator == "" && seq > gone && (from == lower || from == higher) {
			old.sent[from]++
		}
		return nil
	})
	return old, err
}

// expireHoles makes one expired hole of everything up to last. A hole that goes on above keeps that part.
func expireHoles(ctx context.Context, tx *sql.Tx, group string, known domain.Holes, last int64) error {
	holes := domain.Holes{{From: 1, To: last, Reason: domain.HoleExpired}}
	if h, ok := known.At(last); ok && h.To > last {
		if h.Reason == domain.HoleExpired {
			holes[0].To = h.To
		} else {
			holes = append(holes, domain.Hole{From: last + 1, To: h.To, Reason: h.Reason})
		}
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM seq_hole WHERE group_id=? AND from_seq<=?", group, last); err != nil {
		return err
	}
	for _, h := range holes {
		if err := insertHole(ctx, tx, group, h); err != nil {
			return err
		}
	}
	return nil
}

// keepSent remembers what users wrote in a direct conversation, for the stranger limit, which counts rows.
func keepSent(ctx context.Context, tx *sql.Tx, group string, sent map[string]int) error {
	if len(sent) == 0 {
		return nil
	}
	before, err := keptSent(ctx, tx, []string{group})
	if err != nil {
		return err
	}
	for side, user := range sidesOf(group) {
		if n := sent[user]; n > 0 {
			n := min(before[group][side]+int64(n), domain.MaxStrangerLimit)
			// Nobody else writes it meanwhile: the group is locked.
			if _, err := tx.ExecContext(ctx, "REPLACE INTO direct_sent (group_id, user_id, sent) VALUES (?, ?, ?)", group, user, n); err != nil {
				return err
			}
		}
	}
	return nil
}

func sidesOf(group string) [2]string {
	lower, higher, _ := domain.SplitDirect(group)
	return [2]string{lower, higher}
}

// keptSent is what the two sides of direct conversations had written in rows that are deleted.
func keptSent(ctx context.Context, q querier, groups []string) (map[string][2]int64, error) {
	sent := make(map[string][2]int64)
	for chunk := range slices.Chunk(groups, groupsAQuery) {
		query := "SELECT group_id, user_id, sent FROM direct_sent WHERE group_id IN (" + marksOf(len(chunk)) + ")"
		err := each(ctx, q, query, anys(chunk), func(rows *sql.Rows) error {
			var group, user string
			var n int64
			if err := rows.Scan(&group, &user, &n); err != nil {
				return err
			}
			pair := sent[group]
			for side, u := range sidesOf(group) {
				if u == user {
					pair[side] = n
				}
			}
			sent[group] = pair
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return sent, nil
}
