package httpapi

import (
	"context"
	"net/http"

	"hearth/domain"
)

func (a *api) addHot() {
	register(a, route{
		method: http.MethodGet, path: "/v1/groups/hot", id: "hotGroups", tag: "Hot rooms",
		summary: "Rank groups by heat",
		description: "Heat is the number of distinct users who sent a message in the last `window_ms`, unless the server is set to weigh " +
			"messages and viewers in. A `cursor` pages " +
			"through the same snapshot, of the same `type`, for 60 s, then it is `gone`. Users see rooms; app servers also " +
			"`type=group` and `type=all`, and with `explain=1` who counts. Heat and order are those of the snapshot at `time_ms`, speakers those " +
			"who count when they are asked for, at `explained_ms`: later, so that in between some have spoken, and some have left the window. " +
			"While heat that Redis has lost is counted anew the last snapshot is shown, or the answer is `unavailable`.",
		errors: []domain.Code{domain.CodeForbidden, domain.CodeGone},
	}, a.hotGroups)
}

type hotInput struct {
	Limit  integer `query:"limit" minimum:"1" doc:"Default 50, at most 200."`
	Cursor string  `query:"cursor" doc:"From the answer before."`
	Type   string  `query:"type" enum:"room,group,all" doc:"Default room."`

	Explain string `query:"explain" enum:"0,1" doc:"1 adds speakers; for app servers."`
}

type hotPage struct {
	Snapshot string     `json:"snapshot" doc:"The same on all pages of one ranking."`
	TimeMS   int64      `json:"time_ms" doc:"When it was taken."`
	WindowMS int64      `json:"window_ms"`
	Groups   []hotGroup `json:"groups" nullable:"false"`
	Cursor   string     `json:"cursor,omitempty" doc:"Where to go on; left out at the end."`

	ExplainedMS int64 `json:"explained_ms,omitempty" doc:"With explain: when speakers, and messages, were read."`

	Weights *domain.HeatWeights `json:"weights,omitempty" doc:"With explain, where heat is not simply the number of speakers: what each number counts for."`
}

type hotGroup struct {
	domain.HotEntry
	Speakers []hotSpeaker `json:"speakers,omitzero" nullable:"false" doc:"With explain: who counted at explained_ms, the latest first; at most 1,000."`
	Messages *int         `json:"messages,omitempty" doc:"With explain, where messages have a weight: how many counted at explained_ms."`
}

type hotSpeaker struct {
	User   string `json:"user"`
	TimeMS int64  `json:"time_ms" doc:"Of his last message."`
}

func (a *api) hotGroups(ctx context.Context, in *hotInput) (*answer[hotPage], error) {
	limit, err := in.Limit.limit()
	if err != nil {
		return nil, err
	}
	if in.Explain != "" && in.Explain != "0" && in.Explain != "1" {
		return nil, domain.BadField("explain", "must be 1 or 0")
	}
	p, err := a.Ranking.Page(ctx, actorOf(ctx), domain.HotQuery{Type: in.Type, Limit: limit, Cursor: in.Cursor, Explain: in.Explain == "1"})
	if err != nil {
		return nil, err
	}
	out := hotPage{
		Snapshot: p.ID, TimeMS: p.TimeMS, WindowMS: a.HeatWindow.Milliseconds(), Groups: make([]hotGroup, len(p.Entries)), Cursor: p.Cursor,
		ExplainedMS: p.ExplainedMS, Weights: p.Weights,
	}
	for i, e := range p.Entries {
		out.Groups[i].HotEntry = e
		if p.Speakers != nil {
			out.Groups[i].Speakers = speakersOf(p.Speakers[e.Group])
		}
		if n, counted := p.Messages[e.Group]; counted {
			out.Groups[i].Messages = &n
		}
	}
	return &answer[hotPage]{Body: out}, nil
}

// speakersOf is never nil: a group has none when they have just left the window.
func speakersOf(list []domain.Speaker) []hotSpeaker {
	speakers := make([]hotSpeaker, len(list))
	for i, s := range list {
		speakers[i] = hotSpeaker{User: s.User, TimeMS: s.TimeMS}
	}
	return speakers
}
