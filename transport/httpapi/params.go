package httpapi

import (
	"math"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"hearth/domain"
)

// integer is a parameter that is a number, as it came: huma cannot tell a missing one from 0.
type integer string

// Schema makes the OpenAPI file show a number.
func (integer) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeInteger, Format: "int64"}
}

// value is nil when the parameter was not given.
func (i integer) value(name string) (*int64, error) {
	if i == "" {
		return nil, nil
	}
	n, err := strconv.ParseInt(string(i), 10, 64)
	if err != nil {
		return nil, domain.BadField(name, "must be an integer")
	}
	return &n, nil
}

// limit is 0 when the parameter was not given.
func (i integer) limit() (int, error) {
	n, err := i.value("limit")
	if err != nil {
		return 0, err
	}
	return limitOf("limit", n)
}

// limitOf is 0 when none was given; 0 itself is refused, for to domain it means the default.
func limitOf(name string, n *int64) (int, error) {
	switch {
	case n == nil:
		return 0, nil
	case *n < 1:
		return 0, domain.BadField(name, "must be at least 1")
	}
	return int(min(*n, math.MaxInt32)), nil
}
