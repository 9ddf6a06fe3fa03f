package mysqlrepo

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"hearth/domain"
)

// Seed decides where groups start in a generation (DESIGN §4.4), once for all instances: whoever inserts the
// seq_seed row first has decided, the others wait for its transaction and take what it wrote. It fails with
// ErrGeneration unless gen is the partition's newest and settled: only then no row of an older one can still come.
func (d *DB) Seed(ctx context.Context, partition int, gen int64, groups []string) (map[string]domain.Seed, error) {
	groups = slices.Compact(slices.Sorted(slices.Values(groups)))
	for _, g := range groups {
		if p := d.partitions.Of(g); p != partition {
			return nil, fmt.Errorf("seed group %s in partition %d: it is of partition %d", g, partition, p)
		}
	}
	var seeds map[string]domain.Seed
	err := d.tx(ctx, func(tx *sql.Tx) (err error) {
		if err := d.shareSettled(ctx, tx, partition, gen); err != nil {
			return err
		}
		starts, err := seededStarts(ctx, tx, gen, groups)
		if err != nil {
			return err
		}
		if err := d.addSeeds(ctx, tx, gen, groups, starts); err != nil {
			return err
		}
		if seeds, err = seedsOf(ctx, tx, groups, starts); err != nil {
			return err
		}
		return addRecentSends(ctx, tx, groups, seeds)
	})
	if err == nil {
		err = d.addSent(ctx, groups, seeds)
	}
	if err != nil {
		return nil, fmt.Errorf("seed %d groups of partition %d in generation %d: %w", len(groups), partition, gen, err)
	}
	return seeds, nil
}

// seededStarts has an entry for each group that was seeded in gen.
func seededStarts(ctx context.Context, tx *sql.Tx, gen int64, groups []string) (map[string]int64, error) {
	starts := make(map[string]int64, len(groups))
	for chunk := range slices.Chunk(groups, groupsAQuery) {
		query := "SELECT group_id, start_seq FROM seq_seed WHERE gen=? AND group_id IN (" + marksOf(len(chunk)) + ")"
		err := each(ctx, tx, query, append([]any{gen}, anys(chunk)...), func(rows *sql.Rows) error {
			var group string
			var start int64
			if err := rows.Scan(&group, &start); err != nil {
				return err
			}
			starts[group] = start
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return starts, nil
}

// addSeeds decides for the groups that starts lacks, adds them to it, and writes their holes.
func (d *DB) addSeeds(ctx context.Context, tx *sql.Tx, gen int64, groups []string, starts map[string]int64) error {
	groups = slices.DeleteFunc(slices.Clone(groups), func(g string) bool { _, ok := starts[g]; return ok })
	if len(groups) == 0 {
		return nil
	}
	young, err := d.createdIn(ctx, tx, gen, groups)
	if err != nil {
		return err
	}
	tops, err := topsOf(ctx, tx, groups, gen)
	if err != nil {
		return err
	}
	var floor int64
	if len(young) > 0 {
		if floor, err = youngFloor(ctx, tx); err != nil {
			return err
		}
	}
	for _, g := range groups {
		if young[g] && tops[g].seq() == 0 {
			starts[g] = floor
		} else { // also a young group's, when one of this id was there before a backup was restored
			starts[g] = tops[g].seq() + d.seqJump
		}
	}
	if err := d.insertSeeds(ctx, tx, gen, groups, starts); err != nil {
		return err
	}
	return d.addHoles(ctx, tx, groups, starts, tops)
}

// createdIn tells which groups were created in gen. It locks the rows of all of them: retention, which puts a hole in the
// place of rows, comes before or after everything that is looked at from here on.
func (d *DB) createdIn(ctx context.Context, tx *sql.Tx, gen int64, groups []string) (map[string]bool, error) {
	young := make(map[string]bool)
	for chunk := range slices.Chunk(groups, groupsAQuery) {
		query := "SELECT group_id, created_gen FROM chat_group WHERE group_id IN (" + marksOf(len(chunk)) + ") ORDER BY group_id" + d.dialect.forShare
		err := each(ctx, tx, query, anys(chunk), func(rows *sql.Rows) error {
			var group string
			var created int64
			err := rows.Scan(&group, &created)
			young[group] = created == gen
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return young, nil
}

// insertSeeds inserts starts; where another instance was first, it puts that one's start in.
func (d *DB) insertSeeds(ctx context.Context, tx *sql.Tx, gen int64, groups []string, starts map[string]int64) error {
	for chunk := range slices.Chunk(groups, groupsAQuery) {
		args := make([]any, 0, 3*len(chunk))
		for _, g := range chunk {
			args = append(args, g, gen, starts[g])
		}
		query := "INSERT INTO seq_seed (group_id, gen, start_seq) VALUES " + rowsOf(len(chunk), 3) + d.dialect.keepGroup
		result, err := tx.ExecContext(ctx, query, args...)
		if err != nil {
			return err
		}
		added, err := result.RowsAffected()
		if err != nil {
			return err
		}
		if added == int64(len(chunk)) {
			continue
		}
		stored, err := seededStarts(ctx, tx, gen, chunk)
		if err != nil {
			return err
		}
		for g, start := range stored {
			starts[g] = start
		}
	}
	return nil
}

func seedsOf(ctx context.Context, tx *sql.Tx, groups []string, starts map[string]int64) (map[string]domain.Seed, error) {
	tops, err := topsOf(ctx, tx, groups, anyGen)
	if err != nil {
		return nil, err
	}
	holes, err := holesOf(ctx, tx, groups)
	if err != nil {
		return nil, err
	}
	seeds := make(map[string]domain.Seed, len(groups))
	for _, g := range groups {
		seeds[g] = domain.Seed{Start: starts[g], LastMS: tops[g].lastMS, Holes: holes[g]}
	}
	return seeds, nil
}

// addSent tells what the two sides of direct conversations have written themselves: how much as long as one of them has
// written nothing, and of both that they have as soon as they have. It reads outside the transaction, which others wait
// for: rows of older generations do not change any more, and what of this one may be among them was counted by whoever
// has set its seed. Retention may move rows into direct_sent meanwhile, so both are read as of one moment.
func (d *DB) addSent(ctx context.Context, groups []string, seeds map[string]domain.Seed) error {
	var sides []domain.GroupUser
	var direct []string
	for _, g := range groups {
		if lower, higher, ok := domain.SplitDirect(g); ok {
			direct = append(direct, g)
			sides = append(sides, domain.GroupUser{Group: g, User: lower}, domain.GroupUser{Group: g, User: higher})
		}
	}
	if len(direct) == 0 {
		return nil
	}
	marks, err := d.ReadMarks(ctx, sides)
	if err != nil {
		return err
	}
	return d.view(ctx, func(tx *sql.Tx) error {
		kept, err := keptSent(ctx, tx, direct)
		if err != nil {
			return err
		}
		for pair := range slices.Chunk(sides, 2) {
			seed := seeds[pair[0].Group]
			seed.Sent = kept[pair[0].Group]
			if seed.LastMS > 0 {
				if seed.Sent, err = sentIn(ctx, tx, pair, marks, seed.Sent); err != nil {
					return fmt.Errorf("what both sides have written: %w", err)
				}
			}
			seeds[pair[0].Group] = seed
		}
		return nil
	})
}

// sentIn adds what is in a conversation's rows to what was in those that are deleted. It walks from the beginning to the
// first message of each side, which with a stranger limit come early. A side that has written nothing is looked for up to
// its read mark, which writing moves: one that never came costs nothing, and one that reads and never answers as much as
// it has read.
func sentIn(ctx context.Context, q querier, sides []domain.GroupUser, marks map[domain.GroupUser]int64, kept [2]int64) ([2]int64, error) {
	count := func(side, limit int) (n int64, err error) {
		mark := marks[sides[side]]
		if mark == 0 {
			return 0, nil
		}
		err = each(ctx, q, sentQuery, []any{sides[side].Group, mark, sides[side].User, limit},
			func(rows *sql.Rows) error { return rows.Scan(&n) })
		return n, err
	}
	sent := kept
	for side := range sides {
		if sent[side] > 0 {
			continue
		}
		var err error
		if sent[side], err = count(side, 1); err != nil {
			return sent, err
		}
	}
	for side := range sides {
		if sent[side] > 0 && sent[1-side] == 0 {
			n, err := count(side, domain.MaxStrangerLimit)
			if err != nil {
				return sent, err
			}
			sent[side] = min(kept[side]+n, domain.MaxStrangerLimit)
		}
	}
	return sent, nil
}

// The first own messages of a side, up to a seq. In the order of the primary key, so that the walk ends with the last of
// them.
const sentQuery = "SELECT COUNT(*) FROM (SELECT msg_seq FROM group_msg" +
	" WHERE group_id=? AND msg_seq<=? AND from_account=? AND operator_account='' ORDER BY msg_seq LIMIT ?) AS own"

// maxRecentSends bounds what a seed remembers of a group's sends; the latest count.
const maxRecentSends = 20_000

// addRecentSends puts in the sends whose repeats a new generation has to know. A group that starts at 0 has none.
func addRecentSends(ctx context.Context, tx *sql.Tx, groups []string, seeds map[string]domain.Seed) error {
	query := "SELECT from_account, client_id, msg_seq, msg_time, content_hash FROM group_msg" +
		" WHERE group_id=? AND msg_time>=? AND client_id<>'' ORDER BY msg_time DESC LIMIT ?"
	for _, g := range groups {
		seed := seeds[g]
		if seed.Start == 0 || seed.LastMS == 0 {
			continue
		}
		// By the clock of the messages: an instance's own may be off, and too many do no harm.
		since := seed.LastMS - domain.DedupeWindow.Milliseconds()
		err := each(ctx, tx, query, []any{g, since, maxRecentSends}, func(rows *sql.Rows) error {
			var from, clientID string
			var r domain.RecentSend
			if err := rows.Scan(&from, &clientID, &r.Seq, &r.TimeMS, &r.Hash); err != nil {
				return err
			}
			r.Dedupe = domain.DedupeID(g, from, clientID)
			seed.Recent = append(seed.Recent, r)
			return nil
		})
		if err != nil {
			return err
		}
		seeds[g] = seed
	}
	return nil
}

// rowsOf is the VALUES of n rows of so many parameters.
func rowsOf(n, params int) string {
	row := "(" + marksOf(params) + ")"
	return strings.Repeat(row+",", n-1) + row
}
