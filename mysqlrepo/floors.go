package mysqlrepo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"hearth/domain"
)

var _ domain.FloorStore = (*DB)(nil)

// errDry ends the transactions of a dry run.
var errDry = errors.New("only to be told")

// unlessDry runs do in a transaction, and with dry takes back what it did.
func (d *DB) unlessDry(ctx context.Context, dry bool, do func(*sql.Tx) error) error {
	err := d.tx(ctx, func(tx *sql.Tx) error {
		if err := do(tx); err != nil || !dry {
			return err
		}
		return errDry
	})
	if errors.Is(err, errDry) {
		return nil
	}
	return err
}

// Living names the instances that have told so lately.
func (d *DB) Living(ctx context.Context) (instances []string, err error) {
	query := "SELECT instance_id FROM instance WHERE heartbeat_time>=" + d.dialect.nowMS + "-?"
	err = each(ctx, d.sql, query, []any{liveMS}, func(rows *sql.Rows) error {
		var id string
		err := rows.Scan(&id)
		instances = append(instances, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("which instances live: %w", err)
	}
	return instances, nil
}

// lostGens is how many generations may have been raised of which neither MySQL nor Redis knows.
const lostGens = 1000

// RaiseGeneration leaves a generation without a server, so that the first start raises the next one; see
// domain.FloorStore. It is settled: nothing older is inserted any more but by the repair itself.
func (d *DB) RaiseGeneration(ctx context.Context, partition int, redis int64, dry bool) (before, after domain.Generation, err error) {
	err = d.unlessDry(ctx, dry, func(tx *sql.Tx) error {
		var err error
		if before, err = d.lockGeneration(ctx, tx, partition); err != nil {
			return err
		}
		after = before
		if before.Gen > redis && before.Gen > 0 && before.Server == "" { // raised by a former repair
			return nil
		}
		after = domain.Generation{Gen: max(before.Gen, redis) + 1}
		if redis < before.Gen {
			after.Gen += lostGens
			if err := d.raiseYoungFloor(ctx, tx); err != nil {
				return err
			}
		}
		after.Settled = after.Gen
		_, err = tx.ExecContext(ctx, "UPDATE generation SET gen=?, server='', settled=? WHERE partition_id=?", after.Gen, after.Settled, partition)
		return err
	})
	if err != nil {
		return before, after, fmt.Errorf("raise generation of partition %d: %w", partition, err)
	}
	return before, after, nil
}

// youngFloorSetting is where new groups start since a repair that Redis could not help: of an id that is made again
// nobody knows how far it was.
const youngFloorSetting = "young_floor"

func (d *DB) raiseYoungFloor(ctx context.Context, tx *sql.Tx) error {
	floor, err := youngFloor(ctx, tx)
	if err != nil || floor >= d.seqJump {
		return err
	}
	row := settingRow{Name: youngFloorSetting, Value: strconv.FormatInt(d.seqJump, 10)}
	return d.orm(ctx, tx).Save(&row).Error
}

func youngFloor(ctx context.Context, q querier) (floor int64, err error) {
	err = each(ctx, q, "SELECT value FROM setting WHERE name=?", []any{youngFloorSetting}, func(rows *sql.Rows) error { return rows.Scan(&floor) })
	return floor, err
}

// WriteBack stores messages that have no row and lie in no hole; see domain.FloorStore. No fence holds it up: nobody
// else writes.
func (d *DB) WriteBack(ctx context.Context, messages []domain.Message) (left int, err error) {
	err = d.tx(ctx, func(tx *sql.Tx) error {
		left = 0
		for group, msgs := range byGroup(messages) {
			holes, err := holesOf(ctx, tx, []string{group})
			if err != nil {
				return err
			}
			_, n, err := d.writeBack(ctx, tx, group, msgs, holes[group])
			if err != nil {
				return err
			}
			left += n
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("write %d messages back: %w", len(messages), err)
	}
	return left, nil
}

func byGroup(messages []domain.Message) map[string][]domain.Message {
	groups := make(map[string][]domain.Message)
	for _, m := range messages {
		groups[m.Group] = append(groups[m.Group], m)
	}
	return groups
}

// writeBack inserts what can be inserted. left counts messages whose seq is taken by other content, or is a hole.
func (d *DB) writeBack(ctx context.Context, tx *sql.Tx, group string, messages []domain.Message, holes domain.Holes) (back []*domain.Message, left int, err error) {
	for chunk := range slices.Chunk(sorted(messages), 500) {
		args := []any{group}
		for _, m := range chunk {
			args = append(args, m.Seq)
		}
		hashes := make(map[int64]string)
		query := "SELECT msg_seq, content_hash FROM group_msg WHERE group_id=? AND msg_seq IN (" + marksOf(len(chunk)) + ")"
		err := each(ctx, tx, query, args, func(rows *sql.Rows) error {
			var seq int64
			var hash string
			err := rows.Scan(&seq, &hash)
			hashes[seq] = hash
			return err
		})
		if err != nil {
			return nil, 0, err
		}
		for _, m := range chunk {
			hash, there := hashes[m.Seq]
			_, hole := holes.At(m.Seq)
			switch {
			case !there && !hole:
				back = append(back, m)
			case !there || hash != m.Hash:
				left++
			}
		}
	}
	if len(back) > 0 {
		if err := d.insertRows(ctx, tx, d.insertFull, d.lengthsOf(back), back); err != nil {
			return nil, 0, err
		}
	}
	marks := senderMarks(back)
	return back, left, d.raiseMarks(ctx, tx, plan(len(marks), d.dialect.maxInsert, markSize), marks)
}

// RaiseFloor writes down where the generation that the repair has raised would begin, as Seed would; see
// domain.FloorStore.
func (d *DB) RaiseFloor(ctx context.Context, gen int64, r domain.Remains, dry bool) (raised domain.RaisedFloor, err error) {
	err = d.unlessDry(ctx, dry, func(tx *sql.Tx) error {
		raised, err = d.raiseFloor(ctx, tx, gen, r)
		return err
	})
	if err != nil {
		return raised, fmt.Errorf("raise the floor of %s: %w", r.Group, err)
	}
	return raised, nil
}

func (d *DB) raiseFloor(ctx context.Context, tx *sql.Tx, gen int64, r domain.Remains) (raised domain.RaisedFloor, err error) {
	groups := []string{r.Group}
	tops, err := topsOf(ctx, tx, groups, gen)
	if err != nil {
		return raised, err
	}
	own, err := seededStarts(ctx, tx, gen, groups)
	if err != nil {
		return raised, err
	}
	raised = domain.RaisedFloor{Group: r.Group, Top: max(tops[r.Group].seq(), own[r.Group])}
	if raised.Back, raised.NotBack, err = d.bringBack(ctx, tx, r); err != nil {
		return raised, err
	}
	known := max(tops[r.Group].row, tops[r.Group].seed, r.Top)
	floor, repaired := own[r.Group]
	jumps := int64(1)
	if !repaired { // otherwise the highest hole is the repair's own, and above the jumps of the generations that are lost
		known, jumps = max(known, tops[r.Group].hole), 1+r.LostGens
	}
	raised.Floor = max(floor, known+d.seqJump*jumps)
	if raised.Floor == floor {
		return raised, nil
	}
	if err := setSeed(ctx, tx, r.Group, gen, raised.Floor, repaired); err != nil {
		return raised, err
	}
	// From the first seq on: who knows of when the backup is.
	return raised, d.addHoles(ctx, tx, groups, map[string]int64{r.Group: raised.Floor}, map[string]top{})
}

func setSeed(ctx context.Context, tx *sql.Tx, group string, gen, start int64, there bool) error {
	query := "INSERT INTO seq_seed (start_seq, group_id, gen) VALUES (?, ?, ?)"
	if there {
		query = "UPDATE seq_seed SET start_seq=? WHERE group_id=? AND gen=?"
	}
	_, err := tx.ExecContext(ctx, query, start, group, gen)
	return err
}

// bringBack stores the messages and read marks that remain.
func (d *DB) bringBack(ctx context.Context, tx *sql.Tx, r domain.Remains) (back, notBack int, err error) {
	stored, err := holesOf(ctx, tx, []string{r.Group})
	if err != nil {
		return 0, 0, err
	}
	list := slices.DeleteFunc(slices.Clone(r.Messages), func(m domain.Message) bool {
		_, given := r.Holes.At(m.Seq)
		return given
	})
	if err := typed(ctx, tx, r.Group, list); err != nil {
		return 0, 0, err
	}
	written, notBack, err := d.writeBack(ctx, tx, r.Group, list, stored[r.Group])
	if err != nil {
		return 0, 0, err
	}
	marks := make([]readMark, 0, len(r.Marks))
	for user, seq := range r.Marks {
		marks = append(marks, readMark{r.Group, user, min(seq, r.Top)})
	}
	marks = highest(marks)
	return len(written), notBack, d.raiseMarks(ctx, tx, plan(len(marks), d.dialect.maxInsert, markSize), marks)
}

// typed gives messages the type of their group where Redis did not know it any more.
func typed(ctx context.Context, tx *sql.Tx, group string, messages []domain.Message) error {
	var typ domain.GroupType
	if _, _, ok := domain.SplitDirect(group); ok {
		typ = domain.Direct
	}
	err := each(ctx, tx, "SELECT type FROM chat_group WHERE group_id=?", []any{group}, func(rows *sql.Rows) error { return rows.Scan(&typ) })
	for i := range messages {
		if messages[i].GroupType == "" {
			messages[i].GroupType = typ
		}
	}
	return err
}
