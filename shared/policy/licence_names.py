"""What authors wrote of their licence before there were SPDX expressions: classifiers and common names, by SPDX id.

https://pypi.org/classifiers/, https://spdx.org/licenses/. Where a name leaves open which of two licences is meant, both
are, by AND: the rules then hold whichever it is. A GNU licence without a version means any (its section on versions).
"""

from __future__ import annotations

from collections.abc import Mapping

PREFIX = "License :: "
UNSPECIFIC = frozenset({"License :: OSI Approved"})
"""Say nothing by themselves, and nothing against what stands beside them."""
_BSD = "BSD-2-Clause AND BSD-3-Clause"
_OSI = "OSI Approved :: "

CLASSIFIERS: Mapping[str, str] = {
    "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": "CC0-1.0",
    **{
        f"{_OSI}{name}": id
        for name, id in {
            "Apache Software License": "Apache-2.0",
            "BSD License": _BSD,
            "Blue Oak Model License (BlueOak-1.0.0)": "BlueOak-1.0.0",
            "Boost Software License 1.0 (BSL-1.0)": "BSL-1.0",
            "Common Development and Distribution License 1.0 (CDDL-1.0)": "CDDL-1.0",
            "Eclipse Public License 1.0 (EPL-1.0)": "EPL-1.0",
            "Eclipse Public License 2.0 (EPL-2.0)": "EPL-2.0",
            "European Union Public Licence 1.1 (EUPL 1.1)": "EUPL-1.1",
            "European Union Public Licence 1.2 (EUPL 1.2)": "EUPL-1.2",
            "GNU Affero General Public License v3": "AGPL-3.0-only",
            "GNU Affero General Public License v3 or later (AGPLv3+)": "AGPL-3.0-or-later",
            "GNU General Public License (GPL)": "GPL-1.0-or-later",
            "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
            "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
            "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
            "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
            "GNU Lesser General Public License v2 (LGPLv2)": "LGPL-2.0-only",
            "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
            "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
            "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
            "GNU Library or Lesser General Public License (LGPL)": "LGPL-2.0-or-later",
            "Historical Permission Notice and Disclaimer (HPND)": "HPND",
            "ISC License (ISCL)": "ISC",
            "MIT License": "MIT",
            "MIT No Attribution License (MIT-0)": "MIT-0",
            "Mozilla Public License 1.0 (MPL)": "MPL-1.0",
            "Mozilla Public License 1.1 (MPL 1.1)": "MPL-1.1",
            "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
            "Mulan Permissive Software License v2 (MulanPSL-2.0)": "MulanPSL-2.0",
            "PostgreSQL License": "PostgreSQL",
            "Python Software Foundation License": "PSF-2.0",
            "The Unlicense (Unlicense)": "Unlicense",
            "Universal Permissive License (UPL)": "UPL-1.0",
            "University of Illinois/NCSA Open Source License": "NCSA",
            "Zero-Clause BSD (0BSD)": "0BSD",
            "Zope Public License": "ZPL-2.1",
            "zlib/libpng License": "Zlib",
        }.items()
    },
}

NAMES: Mapping[str, str] = {
    "apache": "Apache-2.0",
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache software license 2.0": "Apache-2.0",
    "apache-2": "Apache-2.0",
    "apache2": "Apache-2.0",
    "bsd": _BSD,
    "bsd license": _BSD,
    "bsd 2-clause": "BSD-2-Clause",
    "bsd 2-clause license": "BSD-2-Clause",
    "simplified bsd": "BSD-2-Clause",
    "2-clause bsd": "BSD-2-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "modified bsd": "BSD-3-Clause",
    "modified bsd license": "BSD-3-Clause",
    "new bsd": "BSD-3-Clause",
    "new bsd license": "BSD-3-Clause",
    "3-clause bsd": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "gpl": "GPL-1.0-or-later",
    "gplv2": "GPL-2.0-only",
    "gplv2+": "GPL-2.0-or-later",
    "gplv3": "GPL-3.0-only",
    "gplv3+": "GPL-3.0-or-later",
    "lgpl": "LGPL-2.0-or-later",
    "lgplv3": "LGPL-3.0-only",
    "lgplv3+": "LGPL-3.0-or-later",
    "agplv3": "AGPL-3.0-only",
    "isc license": "ISC",
    "expat": "MIT",
    "expat license": "MIT",
    "mit license": "MIT",
    "mit licence": "MIT",
    "mpl 2.0": "MPL-2.0",
    "mpl2": "MPL-2.0",
    "mozilla public license 2.0": "MPL-2.0",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "psf": "PSF-2.0",
    "psf license": "PSF-2.0",
    "psfl": "PSF-2.0",
    "python software foundation license": "PSF-2.0",
    "public domain (unlicense)": "Unlicense",
    "zlib license": "Zlib",
}
"""By lower-case name, without a leading `the` and without commas."""
