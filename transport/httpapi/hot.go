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
		description: "Heat is the number of distinct users who sent a message in the last `window_ms`. A `cursor` pages " +
			"through the same snapshot for 60 s, then it is `gone`. Users see rooms; app servers also " +
			"`type=group` and `type=all`.",
		errors: []domain.Code{domain.CodeForbidden, domain.CodeGone},
	}, a.hotGroups)
}

type hotInput struct {
	Limit  integer `query:"limit" minimum:"1" doc:"Default 50, at most 200."`
	Cursor string  `query:"cursor" doc:"From the answer before."`
	Type   string  `query:"type" enum:"room,group,all" doc:"Default room."`
}

type hotPage struct {
	Snapshot string            `json:"snapshot" doc:"The same on all pages of one ranking."`
	TimeMS   int64             `json:"time_ms" doc:"When it was taken."`
	WindowMS int64             `json:"window_ms"`
	Groups   []domain.HotEntry `json:"groups" nullable:"false"`
	Cursor   string            `json:"cursor,omitempty" doc:"Where to go on; left out at the end."`
}

func (a *api) hotGroups(ctx context.Context, in *hotInput) (*answer[hotPage], error) {
	limit, err := in.Limit.limit()
	if err != nil {
		return nil, err
	}
	p, err := a.Ranking.Page(ctx, actorOf(ctx), domain.HotQuery{Type: in.Type, Limit: limit, Cursor: in.Cursor})
	if err != nil {
		return nil, err
	}
	out := hotPage{
		Snapshot: p.ID, TimeMS: p.TimeMS, WindowMS: a.HeatWindow.Milliseconds(), Groups: p.Entries, Cursor: p.Cursor,
	}
	if out.Groups == nil {
		out.Groups = []domain.HotEntry{}
	}
	return &answer[hotPage]{Body: out}, nil
}
