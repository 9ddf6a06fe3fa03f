package mysqlrepo

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"

	"hearth/domain"
)

// groupsAQuery bounds the statements that ask for many groups at once.
const groupsAQuery = 100

// Holes are all holes of a group.
func (d *DB) Holes(ctx context.Context, group string) (domain.Holes, error) {
	holes, err := holesOf(ctx, d.sql, []string{group})
	if err != nil {
		return nil, fmt.Errorf("holes of %s: %w", group, err)
	}
	return holes[group], nil
}

// holesOf reads the holes of groups, ascending; rows that touch and have the same reason become one hole.
func holesOf(ctx context.Context, q querier, groups []string) (map[string]domain.Holes, error) {
	holes := make(map[string]domain.Holes)
	for chunk := range slices.Chunk(groups, groupsAQuery) {
		query := "SELECT group_id, from_seq, to_seq, reason FROM seq_hole WHERE group_id IN (" + marksOf(len(chunk)) + ") ORDER BY group_id, from_seq"
		err := each(ctx, q, query, anys(chunk), func(rows *sql.Rows) error {
			var group string
			var h domain.Hole
			if err := rows.Scan(&group, &h.From, &h.To, &h.Reason); err != nil {
				return err
			}
			holes[group] = appendHole(holes[group], h)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return holes, nil
}

func appendHole(holes domain.Holes, h domain.Hole) domain.Holes {
	if n := len(holes); n > 0 && holes[n-1].To+1 == h.From && holes[n-1].Reason == h.Reason {
		holes[n-1].To = h.To
		return holes
	}
	return append(holes, h)
}

func anys(ids []string) []any {
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	return args
}

// top is how far a group's seqs are accounted for, by what.
type top struct {
	row, hole, seed int64 // highest seq of a row, a hole, a seed; 0 if there is none
	lastMS          int64 // time of the row
}

func (t top) seq() int64 { return max(t.row, t.hole, t.seed) }

// The highest seqs of one group, for seeds of generations below the last parameter.
const topQuery = `SELECT ?,
 COALESCE((SELECT MAX(msg_seq) FROM group_msg WHERE group_id=?), 0),
 COALESCE((SELECT msg_time FROM group_msg WHERE group_id=? ORDER BY msg_seq DESC LIMIT 1), 0),
 COALESCE((SELECT MAX(to_seq) FROM seq_hole WHERE group_id=?), 0),
 COALESCE((SELECT MAX(start_seq) FROM seq_seed WHERE group_id=? AND gen<?), 0)`

// topsOf has an entry for every group. It takes one index dive each, so as many groups as one likes.
func topsOf(ctx context.Context, q querier, groups []string, belowGen int64) (map[string]top, error) {
	tops := make(map[string]top, len(groups))
	for chunk := range slices.Chunk(groups, groupsAQuery) {
		args := make([]any, 0, 6*len(chunk))
		for _, g := range chunk {
			args = append(args, g, g, g, g, g, belowGen)
		}
		err := each(ctx, q, unionAll(len(chunk), topQuery), args, func(rows *sql.Rows) error {
			var group string
			var t top
			if err := rows.Scan(&group, &t.row, &t.lastMS, &t.hole, &t.seed); err != nil {
				return err
			}
			tops[group] = t
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return tops, nil
}

func unionAll(n int, query string) string {
	return strings.Repeat(query+" UNION ALL ", n-1) + query
}

const anyGen = 1 << 62

// Floors tells how far the seqs of groups are accounted for.
func (d *DB) Floors(ctx context.Context, groups []string) (map[string]domain.Floor, error) {
	floors := make(map[string]domain.Floor, len(groups))
	err := d.view(ctx, func(tx *sql.Tx) error {
		tops, err := topsOf(ctx, tx, groups, anyGen)
		if err != nil {
			return err
		}
		holes, err := holesOf(ctx, tx, slices.Collect(maps.Keys(tops)))
		for group, t := range tops {
			floors[group] = domain.Floor{MaxSeq: t.seq(), LastMS: t.lastMS, Holes: holes[group]}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("floors of %d groups: %w", len(groups), err)
	}
	return floors, nil
}
