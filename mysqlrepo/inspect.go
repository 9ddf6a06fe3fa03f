package mysqlrepo

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"hearth/domain"
)

// InspectGroup shows what there is of a group; see domain.InspectStore.
func (d *DB) InspectGroup(ctx context.Context, group string) (*domain.StoredGroup, error) {
	g, err := d.Group(ctx, group)
	if err != nil {
		return nil, err
	}
	s := &domain.StoredGroup{Group: *g}
	if s.Holes, err = d.Holes(ctx, group); err != nil {
		return nil, err
	}
	var lowest, highest sql.NullInt64
	ends := "SELECT MIN(msg_seq), MAX(msg_seq) FROM group_msg WHERE group_id=?"
	if err := d.sql.QueryRowContext(ctx, ends, group).Scan(&lowest, &highest); err != nil {
		return nil, fmt.Errorf("first and last message of %s: %w", group, err)
	}
	s.MinSeq, s.MaxSeq = lowest.Int64, highest.Int64
	count := "SELECT COUNT(*) FROM (SELECT 1 FROM group_msg" + d.dialect.byGroupTime + " WHERE group_id=? LIMIT ?) counted"
	if err := d.sql.QueryRowContext(ctx, count, group, domain.InspectRows+1).Scan(&s.Count); err != nil {
		return nil, fmt.Errorf("count messages of %s: %w", group, err)
	}
	if s.DeadLetters, err = d.deadSeqs(ctx, group); err != nil {
		return nil, err
	}
	return s, nil
}

// deadSeqs are the latest dead letters of a group, ascending; their payloads stay where they are.
func (d *DB) deadSeqs(ctx context.Context, group string) (seqs []int64, err error) {
	query := "SELECT msg_seq FROM dead_letter WHERE group_id=? ORDER BY msg_seq DESC LIMIT ?"
	err = each(ctx, d.sql, query, []any{group, domain.InspectLetters}, func(rows *sql.Rows) error {
		var seq int64
		err := rows.Scan(&seq)
		seqs = append(seqs, seq)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("dead letters of %s: %w", group, err)
	}
	slices.Reverse(seqs)
	return seqs, nil
}

// MessageCounts goes by the key on group and time, which has the seqs as well.
func (d *DB) MessageCounts(ctx context.Context, group string, sinceMS, stepMS, upTo int64) (map[int64]int64, error) {
	counts := make(map[int64]int64)
	query := "SELECT msg_time - msg_time % ?, COUNT(*) FROM group_msg" + d.dialect.byGroupTime +
		" WHERE group_id=? AND msg_time>=? AND msg_seq<=? GROUP BY 1"
	err := each(ctx, d.sql, query, []any{stepMS, group, sinceMS, upTo}, func(rows *sql.Rows) error {
		var start, n int64
		err := rows.Scan(&start, &n)
		counts[start] = n
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("messages of %s since %d: %w", group, sinceMS, err)
	}
	return counts, nil
}
