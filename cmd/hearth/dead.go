package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"hearth/cmd/internal/app"
	"hearth/domain"
	"hearth/mysqlrepo"
	"hearth/redisrepo"
)

const (
	letterPage  = 100
	tellTimeout = 10 * time.Second // to tell Redis and clients what is stored, also after a signal
)

// DeadCmd is `hearth dead`.
type DeadCmd struct {
	List  DeadListCmd  `cmd:"" help:"List the messages that MySQL has refused, without their text."`
	Retry DeadRetryCmd `cmd:"" help:"Store such messages after all, at their seqs: all, those of a group, or some."`
}

// DeadListCmd is `hearth dead list`.
type DeadListCmd struct {
	ConfigFlag
	Group string `placeholder:"GROUP" help:"Only of this group."`
	JSON  bool   `help:"One JSON object a line."`
}

// Validate refuses what is no group; kong calls it.
func (c *DeadListCmd) Validate() error { return checkGroupFlag(c.Group) }

func checkGroupFlag(group string) error {
	if group == "" {
		return nil
	}
	return domain.CheckGroup("--group", group)
}

// listedLetter is a dead letter in the list: everything but what it says.
type listedLetter struct {
	Group     string `json:"group"`
	Seq       int64  `json:"seq"`
	From      string `json:"from"`
	TimeMS    int64  `json:"time_ms"`
	Reason    string `json:"reason"`
	Bytes     int    `json:"bytes"`
	CreatedMS int64  `json:"created_ms"`
}

// Run prints a line for each.
func (c *DeadListCmd) Run(ctx context.Context, p *Process) error {
	out := &printer{p: p, json: c.JSON}
	return c.withMySQL(ctx, p, func(db *mysqlrepo.DB) error {
		return eachLetter(ctx, db, c.Group, func(page []domain.DeadLetter) error {
			for _, l := range page {
				listed := listedLetter{l.Group, l.Seq, l.From, l.TimeMS, l.Reason, len(l.Body), l.CreatedMS}
				out.object(listed, fmt.Sprintf("%s %d  from %s, %s, %d bytes: %s",
					l.Group, l.Seq, l.From, time.UnixMilli(l.TimeMS).Format(time.DateTime), len(l.Body), printable(l.Reason)))
			}
			return nil
		})
	})
}

// eachLetter lists the dead letters, of one group or of all, page by page.
func eachLetter(ctx context.Context, db *mysqlrepo.DB, group string, do func(page []domain.DeadLetter) error) error {
	for q := (mysqlrepo.LetterQuery{Group: group, Limit: letterPage}); ; {
		page, err := db.DeadLetters(ctx, q)
		if err != nil || len(page) == 0 {
			return err
		}
		if err := do(page); err != nil {
			return err
		}
		last := page[len(page)-1]
		q.AfterGroup, q.AfterSeq = last.Group, last.Seq
	}
}

// DeadRetryCmd is `hearth dead retry`.
type DeadRetryCmd struct {
	ConfigFlag
	Group   string   `placeholder:"GROUP" help:"All of this group."`
	Letters []string `arg:"" optional:"" name:"GROUP SEQ" help:"A group and the seqs to retry in it."`

	letters []groupSeq // of Letters
}

type groupSeq struct {
	group string
	seq   int64
}

// Validate reads GROUP SEQ…; kong calls it.
func (c *DeadRetryCmd) Validate() error {
	switch n := len(c.Letters); {
	case n > 0 && c.Group != "":
		return errors.New("give --group for all of a group, or the group and seqs, not both")
	case n == 1:
		return errors.New("which seqs? For all of a group: --group " + c.Letters[0])
	}
	if err := checkGroupFlag(c.Group); err != nil {
		return err
	}
	for i, word := range c.Letters {
		if i == 0 {
			continue
		}
		seq, err := strconv.ParseInt(word, 10, 64)
		if err != nil || seq < 1 {
			return errors.New("a seq must be an integer from 1 on: " + strconv.Quote(word))
		}
		c.letters = append(c.letters, groupSeq{c.Letters[0], seq})
	}
	return nil
}

// Run stores what it can and says of each what became of it. It fails when some are refused again.
func (c *DeadRetryCmd) Run(ctx context.Context, p *Process) error {
	config, err := c.load(p)
	if err != nil {
		return err
	}
	return withMySQL(ctx, config, func(db *mysqlrepo.DB) (err error) {
		if err := db.CheckPartitions(ctx, domain.Partitions(config.Redis.Partitions)); err != nil {
			return err // it would tell nobody
		}
		redis, err := app.OpenRedis(ctx, config)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, redis.Close()) }()
		r := &retry{p: p, db: db, redis: redis, repairer: domain.NewRepairer(db, redis)}
		if len(c.letters) > 0 {
			err = r.some(ctx, c.letters)
		} else {
			err = eachLetter(ctx, db, c.Group, func(page []domain.DeadLetter) error {
				letters := make([]groupSeq, len(page))
				for i, l := range page {
					letters[i] = groupSeq{l.Group, l.Seq}
				}
				return r.some(ctx, letters)
			})
		}
		return errors.Join(err, r.result())
	})
}

// retry counts what became of dead letters.
type retry struct {
	p               *Process
	db              *mysqlrepo.DB
	redis           *redisrepo.Store
	repairer        *domain.Repairer
	stored, refused int
}

// some retries letters, and then tells Redis and clients what came back, also when it ends early.
func (r *retry) some(ctx context.Context, letters []groupSeq) (err error) {
	filled := make(map[string]int64)
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTimeout)
		defer cancel()
		if tellErr := r.repairer.Repaired(ctx, filled); tellErr != nil {
			err = errors.Join(err, fmt.Errorf("stored, but not told; name these groups and seqs in another retry: %w", tellErr))
		}
	}()
	for _, l := range letters {
		first, err := r.one(ctx, l)
		if err != nil && first == 0 {
			return err
		} else if err != nil {
			fmt.Fprintln(r.p.Stderr, "stored, but repeats are not known:", err)
		}
		if first > 0 && (filled[l.group] == 0 || first < filled[l.group]) {
			filled[l.group] = first
		}
	}
	return nil
}

// one retries a letter; first is the seq from which on history has to be told anew, 0 for none.
func (r *retry) one(ctx context.Context, l groupSeq) (first int64, err error) {
	stored, filled, err := r.db.RetryDeadLetter(ctx, l.group, l.seq)
	var refusal interface{ Refused() (reason string) }
	switch {
	case errors.As(err, &refusal):
		r.refused++
		r.say(l, "refused again: "+printable(refusal.Refused()))
		return 0, nil
	case domain.CodeOf(err) == domain.CodeNotFound:
		return r.again(ctx, l)
	case err != nil:
		return 0, err
	case stored == nil:
		r.say(l, "not needed any more: its sender has repeated it, or it has expired")
	default:
		r.stored++
		r.say(l, "stored")
		if send, ok := stored.RecentSend(); ok { // its sender was told to repeat it
			err = r.redis.RememberSends(ctx, map[string][]domain.RecentSend{l.group: {send}})
		}
	}
	return filled[l.group], err
}

// again tells once more of a message that a former retry has stored: it may have failed behind that.
func (r *retry) again(ctx context.Context, l groupSeq) (first int64, err error) {
	rows, err := r.db.Messages(ctx, domain.Range{Group: l.group, From: l.seq, To: l.seq, Limit: 1})
	if err != nil {
		return 0, err
	}
	if len(rows) == 0 {
		r.refused++
		r.say(l, "there is no such dead letter")
		return 0, nil
	}
	r.say(l, "stored before, told again")
	return l.seq, nil
}

func (r *retry) say(l groupSeq, what string) {
	fmt.Fprintf(r.p.Stdout, "%s %d  %s\n", l.group, l.seq, what)
}

func (r *retry) result() error {
	if r.refused > 0 {
		return fmt.Errorf("%d stored, %d not", r.stored, r.refused)
	}
	fmt.Fprintf(r.p.Stdout, "%d stored.\n", r.stored)
	return nil
}
