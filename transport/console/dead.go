package console

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"hearth/domain"
)

const (
	letterPage   = 100
	retryTimeout = 30 * time.Second // what is left is retried by asking again
)

// letterView is a dead letter without its text.
type letterView struct {
	Group     string `json:"group"`
	Seq       int64  `json:"seq"`
	From      string `json:"from"`
	TimeMS    int64  `json:"time_ms"`
	Reason    string `json:"reason"`
	Bytes     int    `json:"bytes"`
	CreatedMS int64  `json:"created_ms"`
}

func (c *Console) dead(w http.ResponseWriter, r *http.Request, _ session) error {
	q := domain.LetterQuery{Limit: letterPage + 1}
	if cursor := r.URL.Query().Get("cursor"); cursor != "" {
		seq, group, _ := strings.Cut(cursor, "-")
		var err error
		if q.AfterSeq, err = strconv.ParseInt(seq, 10, 64); err != nil || domain.CheckGroup("cursor", group) != nil {
			return domain.BadField("cursor", "is not one that this server gave")
		}
		q.AfterGroup = group
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	page, err := c.Letters.List(ctx, q)
	if err != nil {
		return domain.Unavailable(err, "MySQL")
	}
	answer := struct {
		Letters []letterView `json:"letters"`
		Cursor  string       `json:"cursor,omitempty"`
	}{Letters: []letterView{}}
	if len(page) > letterPage {
		page = page[:letterPage]
		last := page[letterPage-1]
		answer.Cursor = fmt.Sprint(last.Seq, "-", last.Group)
	}
	for _, l := range page {
		answer.Letters = append(answer.Letters, letterView{l.Group, l.Seq, l.From, l.TimeMS, l.Reason, len(l.Body), l.CreatedMS})
	}
	return writeJSON(w, answer)
}

// retryDead stores letters after all: one, or all of a group. What was told again, or is not wanted any more, is neither
// stored nor refused.
func (c *Console) retryDead(w http.ResponseWriter, r *http.Request, s session) error {
	var in struct {
		Group string `json:"group"`
		Seq   *int64 `json:"seq"`
	}
	if err := readJSON(w, r, &in); err != nil {
		return err
	}
	if err := domain.CheckGroup("group", in.Group); err != nil {
		return err
	}
	if in.Seq != nil && *in.Seq < 1 {
		return domain.BadField("seq", "must be a seq, or left out for all of the group")
	}
	var stored, refused int
	told := func(result domain.LetterResult) {
		switch result.Outcome {
		case domain.LetterStored:
			stored++
		case domain.LetterRefused, domain.LetterUnknown:
			refused++
		}
		if result.Unremembered != nil {
			c.Log.Warn().Err(result.Unremembered).Str("group", result.Group).Int64("seq", result.Seq).Msg("dead letter stored, its repeats are not known")
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), retryTimeout)
	defer cancel()
	line := c.audit(s).Str("group", in.Group)
	var err error
	if in.Seq != nil {
		line.Int64("seq", *in.Seq)
		err = c.Letters.Retry(ctx, []domain.LetterID{{Group: in.Group, Seq: *in.Seq}}, told)
	} else {
		err = c.Letters.RetryAll(ctx, in.Group, told)
	}
	line.Int("stored", stored).Int("refused", refused).Msg("console retried dead letters")
	if err != nil {
		return domain.Unavailable(err, "MySQL")
	}
	return writeJSON(w, struct {
		Stored  int `json:"stored"`
		Refused int `json:"refused"`
	}{stored, refused})
}
