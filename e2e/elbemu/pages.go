package elbemu

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// maxPage is the maximum PageSize of a Describe call, and the default.
const maxPage = 400

// page selects a part of a list. A marker holds the creation order of the last resource
// shown. So deletions between two pages neither hide nor repeat a resource.
type page struct {
	after uint64
	size  int
}

const markerPrefix = "after:"

func (p fields) readPage() page {
	selected := page{size: maxPage}
	if size := p.number("PageSize", 1, maxPage); size != nil {
		selected.size = *size
	}
	marker, ok := p.text("Marker")
	if !ok || marker == "" {
		return selected
	}
	plain, err := base64.StdEncoding.DecodeString(marker)
	order, found := strings.CutPrefix(string(plain), markerPrefix)
	after, numberErr := strconv.ParseUint(order, 10, 64)
	if err != nil || !found || numberErr != nil {
		p.f.refuse(invalid("The marker '%.100s' is not valid", marker))
	}
	selected.after = after
	return selected
}

func marker(order uint64) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s%d", markerPrefix, order))
}

// cut returns the page of a list that is in order of creation, and the marker of the next
// page. The marker is empty on the last page.
func cut[T ordered](p page, all []T) (shown []T, next string) {
	for i, one := range all {
		if one.position() <= p.after {
			continue
		}
		shown = append(shown, one)
		if len(shown) == p.size && i < len(all)-1 {
			return shown, marker(one.position())
		}
	}
	return shown, ""
}

type ordered interface{ position() uint64 }
