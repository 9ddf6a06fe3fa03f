package mysqlrepo

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"hearth/domain"
)

// span is (after, to]: what addHoles looks at in a group.
type span struct {
	group     string
	after, to int64
}

// addHoles writes a lost hole for every seq up to a group's start that has neither row nor hole. What is below the
// seed before was accounted for when that one was made. Doing it twice changes nothing.
func (d *DB) addHoles(ctx context.Context, tx *sql.Tx, groups []string, starts map[string]int64, tops map[string]top) error {
	known, err := holesOf(ctx, tx, groups)
	if err != nil {
		return err
	}
	var open []span // with nothing but rows in them
	for _, g := range groups {
		s := span{g, skip(known[g], tops[g].seed), starts[g]}
		switch {
		case s.after >= s.to:
		case len(known[g].Clip(s.after+1, s.to)) == 0:
			open = append(open, s)
		default:
			if err := findGaps(ctx, tx, s); err != nil {
				return err
			}
		}
	}
	return closeSpans(ctx, tx, open)
}

// skip is the last seq of the holes that follow on after.
func skip(holes domain.Holes, after int64) int64 {
	for {
		h, ok := holes.At(after + 1)
		if !ok {
			return after
		}
		after = h.To
	}
}

// closeSpans does for most groups with a count what findGaps needs a sort for: as many rows as seqs, so the only
// gap is the one above the last row.
func closeSpans(ctx context.Context, tx *sql.Tx, spans []span) error {
	const query = "SELECT ?, COUNT(*), COALESCE(MAX(msg_seq), 0) FROM group_msg WHERE group_id=? AND msg_seq>? AND msg_seq<=?"
	for chunk := range slices.Chunk(spans, groupsAQuery) {
		var args, holes []any
		for i, s := range chunk {
			args = append(args, i, s.group, s.after, s.to)
		}
		var gappy []span
		err := each(ctx, tx, unionAll(len(chunk), query), args, func(rows *sql.Rows) error {
			var i int
			var count, last int64
			if err := rows.Scan(&i, &count, &last); err != nil {
				return err
			}
			s := chunk[i]
			last = max(last, s.after)
			switch {
			case count != last-s.after:
				gappy = append(gappy, s)
			case last < s.to:
				holes = append(holes, s.group, last+1, s.to, domain.HoleLost)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if len(holes) > 0 {
			insert := "INSERT INTO seq_hole (group_id, from_seq, to_seq, reason) VALUES " + rowsOf(len(holes)/4, 4)
			if _, err := tx.ExecContext(ctx, insert, holes...); err != nil {
				return err
			}
		}
		for _, s := range gappy {
			if err := findGaps(ctx, tx, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// gapsInsert finds gaps where rows and holes leave something out between the highest seq before and the next
// one; the ends of the span stand for a row before and one behind it. Nothing of it leaves the server.
const gapsInsert = `INSERT INTO seq_hole (group_id, from_seq, to_seq, reason)
SELECT ?, before_seq+1, first_seq-1, 'lost' FROM (
  SELECT first_seq, MAX(last_seq) OVER (ORDER BY first_seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before_seq FROM (
    SELECT ? AS first_seq, ? AS last_seq
    UNION ALL SELECT ?, ?
    UNION ALL SELECT msg_seq, msg_seq FROM group_msg WHERE group_id=? AND msg_seq>? AND msg_seq<=?
    UNION ALL SELECT from_seq, to_seq FROM seq_hole WHERE group_id=? AND to_seq>? AND from_seq<=?
  ) AS taken
) AS neighbours WHERE before_seq IS NOT NULL AND first_seq > before_seq+1`

func findGaps(ctx context.Context, tx *sql.Tx, s span) error {
	_, err := tx.ExecContext(ctx, gapsInsert, s.group,
		s.after, s.after, s.to+1, s.to+1,
		s.group, s.after, s.to,
		s.group, s.after, s.to)
	if err != nil {
		return fmt.Errorf("holes of %s from %d to %d: %w", s.group, s.after+1, s.to, err)
	}
	return nil
}
