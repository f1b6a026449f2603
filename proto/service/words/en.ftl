# The frame of every page and the parts of forms. Values are escaped where they are put into a page.
skip = Skip to the main content
languages = Language
menu = Menu
sign-out = Sign out
draft-notice = This text was translated by a machine and nobody has checked it yet. If something is unclear, switch to English.
not-for-emergencies = This is not for emergencies. If somebody is in danger, call 999. For urgent medical advice, call 111.
faults-title = There is a problem
fault = Error:
optional = (optional)
yes = Yes
no = No
day = Day
month = Month
year = Year
back = Back
next-page = Next page
exit = Exit this page
