package bench

import "errors"

// KindOf is the Kind of the Error in err's chain, "" without one.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return ""
}
